//! Settings in a node's `config.toml`, changed where they stand: the file that `simd init` writes
//! names every setting there is, one a line.

/// Sets `key` of `[section]` to `value`, which is written as it is.
pub(crate) fn set(text: &str, section: &str, key: &str, value: &str) -> Result<String, String> {
    let mut current = "";
    let mut done = false;
    let mut lines: Vec<String> = Vec::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            current = name;
        }
        let is_it =
            current == section && line.split_once('=').is_some_and(|(name, _)| name.trim() == key);
        done |= is_it;
        lines.push(if is_it { format!("{key} = {value}") } else { line.to_owned() });
    }
    if !done {
        return Err(format!("it has no setting {key} in [{section}]"));
    }
    lines.push(String::new());
    Ok(lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "moniker = \"m\"\n\n[rpc]\n# laddr = 1\nladdr = \"a\"\n[p2p]\nladdr = \"b\"\n[p2p.more]\nladdr = \"c\"\n";

    #[test]
    fn only_the_setting_of_the_section_changes() {
        assert_eq!(set(FILE, "p2p", "laddr", "\"x\"").unwrap(), FILE.replace("\"b\"", "\"x\""));
        assert_eq!(set(FILE, "", "moniker", "\"n\"").unwrap(), FILE.replace("\"m\"", "\"n\""));
    }

    #[test]
    fn a_setting_that_is_not_there_is_an_error() {
        assert!(set(FILE, "rpc", "pex", "true").unwrap_err().contains("pex in [rpc]"));
        assert!(set(FILE, "consensus", "laddr", "1").is_err());
    }
}
