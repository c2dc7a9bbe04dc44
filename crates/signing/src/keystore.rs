//! Keys on disk, each encrypted under a password (Web3 Secret Storage, scrypt).

use crate::{
    cosmos::{CosmosAlgorithm, CosmosKey},
    identity::IdentityKey,
    import::{self, HdPath, ImportError},
    key::{AttestingKey, TransactionKey},
};
use alloy_primitives::Address;
use alloy_signer_local::PrivateKeySigner;
use postrider_message::KeyName;
use secrecy::{ExposeSecret, SecretString};
use std::{
    fs::File,
    path::{Path, PathBuf},
};

/// A password. It is never shown.
pub type Password = SecretString;

/// Why a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeystoreError {
    /// There is none of this name.
    #[error("no key `{name}` in {folder}; `postrider keys new {name}` makes one")]
    Missing {
        /// The name.
        name: KeyName,
        /// The folder looked in.
        folder: PathBuf,
    },
    /// There is one of this name.
    #[error("a key `{0}` exists already; it is never overwritten")]
    Exists(KeyName),
    /// The password is wrong, or the file is not a key file.
    #[error("key `{name}` cannot be opened: {why}")]
    Locked {
        /// The name.
        name: KeyName,
        /// Why; never holds key or password.
        why: String,
    },
    /// A private key given is not 32 bytes in hexadecimal, or not a valid one.
    #[error("that is not a private key (32 bytes in hexadecimal)")]
    BadKey,
    /// A mnemonic or a key file holds no usable key.
    #[error(transparent)]
    Import(#[from] ImportError),
    /// The folder cannot be read or written.
    #[error("the keystore {path}: {source}")]
    Io {
        /// The folder or file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// A folder of encrypted keys.
#[derive(Debug, Clone)]
pub struct Keystore {
    folder: PathBuf,
}

impl Keystore {
    /// The keystore in `folder`, which is made if it is missing, for its owner only.
    ///
    /// # Errors
    /// [`KeystoreError::Io`] if it cannot be made.
    pub fn open(folder: &Path) -> Result<Self, KeystoreError> {
        let io = |source| KeystoreError::Io { path: folder.to_owned(), source };
        make_folder(folder).map_err(io)?;
        restrict(folder, 0o700).map_err(io)?;
        Ok(Self { folder: folder.to_owned() })
    }

    /// The folder; journals lie beside the keys.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn path(&self, name: &KeyName) -> PathBuf {
        self.folder.join(format!("{name}.json"))
    }

    /// Makes a new key.
    ///
    /// # Errors
    /// [`KeystoreError::Exists`] if the name is taken.
    pub fn create(&self, name: &KeyName, password: &Password) -> Result<Address, KeystoreError> {
        self.store(name, &PrivateKeySigner::random(), password)
    }

    /// Takes in a private key given in hexadecimal.
    ///
    /// # Errors
    /// [`KeystoreError::BadKey`] if it is none, [`KeystoreError::Exists`] if the name is taken.
    pub fn import(
        &self,
        name: &KeyName,
        private_key: &SecretString,
        password: &Password,
    ) -> Result<Address, KeystoreError> {
        let signer: PrivateKeySigner =
            private_key.expose_secret().trim().parse().map_err(|_| KeystoreError::BadKey)?;
        self.store(name, &signer, password)
    }

    /// Takes in the key that a mnemonic's words (BIP-39, English) and a path (BIP-32) lead to.
    ///
    /// # Errors
    /// [`KeystoreError::Import`] if they lead to none, [`KeystoreError::Exists`] if the name is
    /// taken.
    pub fn import_mnemonic(
        &self,
        name: &KeyName,
        words: &SecretString,
        path: &HdPath,
        algorithm: CosmosAlgorithm,
        password: &Password,
    ) -> Result<CosmosKey, KeystoreError> {
        let key = CosmosKey::new(import::from_mnemonic(words, path)?, algorithm);
        self.store(name, key.signer(), password)?;
        Ok(key)
    }

    /// Takes in the key of a file of Hermes, or of an SDK chain's `keys add --output json`: its
    /// private key, or else its mnemonic, for which `path` counts. The key must have the address
    /// that the file names, which also tells its algorithm.
    ///
    /// # Errors
    /// [`KeystoreError::Import`] if there is none, or it has another address;
    /// [`KeystoreError::Exists`] if the name is taken.
    pub fn import_key_file(
        &self,
        name: &KeyName,
        json: &SecretString,
        path: &HdPath,
        password: &Password,
    ) -> Result<CosmosKey, KeystoreError> {
        let key = import::from_key_file(json, path)?;
        self.store(name, key.signer(), password)?;
        Ok(key)
    }

    fn store(
        &self,
        name: &KeyName,
        signer: &PrivateKeySigner,
        password: &Password,
    ) -> Result<Address, KeystoreError> {
        let path = self.path(name);
        if path.exists() {
            return Err(KeystoreError::Exists(name.clone()));
        }
        let io = |source| KeystoreError::Io { path: path.clone(), source };
        // A key is whole and on disk, or not there: it gets its name last, and takes nobody's.
        let draft = self.folder.join(format!("{name}.json.new"));
        remove_if_there(&draft).map_err(io)?;
        PrivateKeySigner::encrypt_keystore(
            &self.folder,
            &mut rand_core(),
            signer.to_bytes(),
            password.expose_secret(),
            Some(&format!("{name}.json.new")),
        )
        .map_err(|e| io(std::io::Error::other(e.to_string())))?;
        restrict(&draft, 0o600).map_err(io)?;
        File::open(&draft).and_then(|file| file.sync_all()).map_err(io)?;
        std::fs::hard_link(&draft, &path).map_err(|e| match e.kind() {
            std::io::ErrorKind::AlreadyExists => KeystoreError::Exists(name.clone()),
            _ => io(e),
        })?;
        std::fs::remove_file(&draft).map_err(io)?;
        sync_folder(&self.folder).map_err(io)?;
        Ok(signer.address())
    }

    /// The names of all keys, in order.
    ///
    /// # Errors
    /// [`KeystoreError::Io`] if the folder cannot be read.
    pub fn names(&self) -> Result<Vec<KeyName>, KeystoreError> {
        let io = |source| KeystoreError::Io { path: self.folder.clone(), source };
        let mut names: Vec<KeyName> = std::fs::read_dir(&self.folder)
            .map_err(io)?
            .filter_map(Result::ok)
            .filter_map(|entry| entry.file_name().to_str()?.strip_suffix(".json")?.parse().ok())
            .collect();
        names.sort();
        Ok(names)
    }

    fn unlock(
        &self,
        name: &KeyName,
        password: &Password,
    ) -> Result<PrivateKeySigner, KeystoreError> {
        let path = self.path(name);
        if !path.exists() {
            let (name, folder) = (name.clone(), self.folder.clone());
            return Err(KeystoreError::Missing { name, folder });
        }
        PrivateKeySigner::decrypt_keystore(&path, password.expose_secret())
            .map_err(|e| KeystoreError::Locked { name: name.clone(), why: e.to_string() })
    }

    /// Opens a key for paying transactions.
    ///
    /// # Errors
    /// [`KeystoreError::Missing`], or [`KeystoreError::Locked`] with a wrong password.
    pub fn transaction_key(
        &self,
        name: &KeyName,
        password: &Password,
    ) -> Result<TransactionKey, KeystoreError> {
        self.unlock(name, password).map(TransactionKey::new)
    }

    /// Opens a key for paying transactions on Cosmos networks, which sign by `algorithm`.
    ///
    /// # Errors
    /// [`KeystoreError::Missing`], or [`KeystoreError::Locked`] with a wrong password.
    pub fn cosmos_key(
        &self,
        name: &KeyName,
        password: &Password,
        algorithm: CosmosAlgorithm,
    ) -> Result<CosmosKey, KeystoreError> {
        self.unlock(name, password).map(|signer| CosmosKey::new(signer, algorithm))
    }

    /// Opens a key for attesting.
    ///
    /// # Errors
    /// [`KeystoreError::Missing`], or [`KeystoreError::Locked`] with a wrong password.
    pub fn attesting_key(
        &self,
        name: &KeyName,
        password: &Password,
    ) -> Result<AttestingKey, KeystoreError> {
        self.unlock(name, password).map(AttestingKey::new)
    }

    /// Opens a key for being known to peers.
    ///
    /// # Errors
    /// [`KeystoreError::Missing`], or [`KeystoreError::Locked`] with a wrong password.
    pub fn identity_key(
        &self,
        name: &KeyName,
        password: &Password,
    ) -> Result<IdentityKey, KeystoreError> {
        self.unlock(name, password).map(IdentityKey::new)
    }
}

fn rand_core() -> impl rand_08::Rng + rand_08::CryptoRng {
    rand_08::rngs::OsRng
}

/// Makes a folder and those above it that are missing, so that they survive a loss of power.
fn make_folder(folder: &Path) -> std::io::Result<()> {
    let missing: Vec<&Path> =
        folder.ancestors().take_while(|f| !f.as_os_str().is_empty() && !f.exists()).collect();
    std::fs::create_dir_all(folder)?;
    for made in missing {
        let above = made.parent().filter(|above| !above.as_os_str().is_empty());
        sync_folder(above.unwrap_or(Path::new(".")))?;
    }
    Ok(())
}

fn remove_if_there(path: &Path) -> std::io::Result<()> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

#[cfg(unix)]
fn sync_folder(folder: &Path) -> std::io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(not(unix))]
fn sync_folder(_: &Path) -> std::io::Result<()> {
    Ok(())
}

#[cfg(unix)]
fn restrict(path: &Path, mode: u32) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
}

#[cfg(not(unix))]
fn restrict(_: &Path, _: u32) -> std::io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r8_keys_are_kept_encrypted_and_never_shown() {
        let folder = tempfile::tempdir().unwrap();
        let store = Keystore::open(&folder.path().join("keys")).unwrap();
        let (name, password) = ("dvn".parse().unwrap(), Password::from("secret"));
        let hex = "0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d";
        let address = store.import(&name, &hex.into(), &password).unwrap();
        let file = std::fs::read_to_string(store.path(&name)).unwrap();
        assert!(!file.contains(&hex[2..]));

        let key = store.attesting_key(&name, &password).unwrap();
        assert_eq!(key.address(), address);
        assert!(!format!("{key:?}").contains(&hex[2..10]));
        let wrong = store.attesting_key(&name, &"other".into()).unwrap_err();
        assert!(matches!(wrong, KeystoreError::Locked { .. }));
        assert!(!wrong.to_string().contains("other"));

        assert!(matches!(store.create(&name, &password), Err(KeystoreError::Exists(_))));
        assert_eq!(store.names().unwrap(), [name]);
        let missing = store.transaction_key(&"nobody".parse().unwrap(), &password);
        assert!(matches!(missing, Err(KeystoreError::Missing { .. })));
        let bad = store.import(&"x".parse().unwrap(), &"0x12".into(), &password);
        assert!(matches!(bad, Err(KeystoreError::BadKey)));
    }

    /// What a crash left half written is no key, stands in nobody's way, and never takes the place
    /// of one.
    #[test]
    fn a_key_is_whole_or_not_there() {
        let folder = tempfile::tempdir().unwrap();
        let store = Keystore::open(&folder.path().join("data").join("keys")).unwrap();
        let (name, password): (KeyName, _) = ("dvn".parse().unwrap(), Password::from("secret"));
        let draft = store.folder().join("dvn.json.new");
        std::fs::write(&draft, "{\"half").unwrap();
        assert!(store.names().unwrap().is_empty());
        let address = store.create(&name, &password).unwrap();
        assert!(!draft.exists());
        assert_eq!(store.transaction_key(&name, &password).unwrap().address(), address);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = std::fs::metadata(store.path(&name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }
}
