//! `postrider check`.

use super::{ConfigFile, PasswordArgs, pathway};
use crate::{failure::Failure, output::Output};
use clap::Args;
use postrider_devnet::Progress;
use postrider_node::{
    check::{Finding, Severity, check},
    node::keys_path,
};
use postrider_signing::{Keystore, Password};

/// Compares the configuration with what the networks say: upstreams, contracts, keys and roles, and
/// the pathways of the lanes in the store.
///
/// Nothing is sent. Without a password the checks that need the keys' addresses are left out. Exit
/// code 3 if a part of the node would not work, or must not.
#[derive(Debug, Args)]
pub struct Check {
    #[command(flatten)]
    config: ConfigFile,
    #[command(flatten)]
    password: PasswordArgs,
}

impl Check {
    /// Runs the command.
    ///
    /// # Errors
    /// [`Failure::Check`] if one of the findings is an error; [`Failure`] if nothing could be
    /// compared.
    pub async fn run(self, output: &Output) -> Result<(), Failure> {
        let config = self.config.load()?;
        let keystore = Keystore::open(&keys_path(&config))?;
        let password = self.password()?;
        let progress = |text: &str| output.step(text);
        let mut findings = check(&config, &keystore, password.as_ref(), &progress).await;
        progress("comparing the pathways of the lanes in the store");
        if let Some(pathways) = pathway::of_store(&config).await? {
            progress(&pathway::summary(&pathways));
            findings.extend(pathways.as_checked());
            findings.sort_by(|a, b| (&a.place, a.severity).cmp(&(&b.place, b.severity)));
        }
        for line in lines(&findings) {
            output.line(&line);
        }
        output.document(&serde_json::json!({ "findings": findings }));
        match count(&findings, Severity::Error) {
            0 => Ok(()),
            errors => Err(Failure::Check(errors)),
        }
    }

    /// The password, if one is given anywhere. One that is given and cannot be read is a failure,
    /// not a check left out.
    fn password(&self) -> Result<Option<Password>, Failure> {
        let is_given = self.password.password_file.is_some()
            || std::env::var_os("POSTRIDER_PASSWORD").is_some();
        is_given.then(|| self.password.read()).transpose()
    }
}

fn count(findings: &[Finding], severity: Severity) -> usize {
    findings.iter().filter(|f| f.severity == severity).count()
}

/// The findings, which are in the order of their places, under their places, and a summary.
fn lines(findings: &[Finding]) -> Vec<String> {
    let mut lines = Vec::new();
    let mut last = None;
    for finding in findings {
        if last != Some(&finding.place) {
            lines.push(finding.place.clone());
            last = Some(&finding.place);
        }
        lines.push(format!("  {:<8} {}", finding.severity, finding.what));
        lines.push(format!("  {:<8} {}", "risk", finding.risk));
        lines.push(format!("  {:<8} {}", "remedy", finding.remedy));
        lines.push(String::new());
    }
    let [errors, warnings, notes] = [Severity::Error, Severity::Warning, Severity::Note]
        .map(|severity| counted(count(findings, severity), &severity.to_string()));
    lines.push(format!("{errors}, {warnings}, {notes}"));
    lines
}

fn counted(number: usize, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(severity: Severity, place: &str, what: &str) -> Finding {
        Finding {
            severity,
            place: place.into(),
            what: what.into(),
            risk: "R".into(),
            remedy: "M".into(),
        }
    }

    #[test]
    fn findings_stand_under_their_place_and_are_counted() {
        let findings = [
            finding(Severity::Error, "networks.a", "one"),
            finding(Severity::Note, "networks.a", "two"),
            finding(Severity::Error, "networks.b", "three"),
        ];
        let expected = "networks.a
  error    one
  risk     R
  remedy   M

  note     two
  risk     R
  remedy   M

networks.b
  error    three
  risk     R
  remedy   M

2 errors, 0 warnings, 1 note";
        assert_eq!(lines(&findings).join("\n"), expected);
        assert_eq!(lines(&[]), ["0 errors, 0 warnings, 0 notes"]);
    }
}
