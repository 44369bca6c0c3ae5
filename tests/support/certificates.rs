//! Certificate authorities of the tests' own, and the certificates that they issue, good and bad.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Result;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, date_time_ymd,
};

/// A certificate authority, whose own certificate is in a file.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    dir: PathBuf,
    pub file: PathBuf,
}

/// A certificate and its private key, in files.
#[derive(Debug, Clone)]
pub struct Certified {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// When a certificate is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Validity {
    Now,
    /// From now on, for so many seconds.
    For(u64),
    Expired,
    NotYet,
}

impl Authority {
    /// A new one, which keeps its files in `dir`.
    pub fn new(dir: &Path, name: &str) -> Result<Self> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        let file = dir.join(format!("{name}.pem"));
        fs::write(&file, issuer.pem())?;
        Ok(Self {
            issuer,
            dir: dir.to_owned(),
            file,
        })
    }

    /// A server's certificate for these names and addresses.
    pub fn server(&self, hosts: &[&str], validity: Validity) -> Result<Certified> {
        let hosts: Vec<_> = hosts.iter().map(|&host| host.to_owned()).collect();
        let name = format!("server-{}-{validity:?}", hosts.join("-").replace(':', "_"));
        let mut params = CertificateParams::new(hosts)?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        match validity {
            Validity::Now => {}
            Validity::For(seconds) => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
                params.not_after = date_time_ymd(1970, 1, 1) + now + Duration::from_secs(seconds);
            }
            Validity::Expired => {
                params.not_before = date_time_ymd(2020, 1, 1);
                params.not_after = date_time_ymd(2021, 1, 1);
            }
            Validity::NotYet => {
                params.not_before = date_time_ymd(2990, 1, 1);
                params.not_after = date_time_ymd(2991, 1, 1);
            }
        }
        self.issue(&name, &params)
    }

    /// A client's certificate for this user.
    pub fn client(&self, user: &str) -> Result<Certified> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.distinguished_name.push(DnType::CommonName, user);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(&format!("client-{user}"), &params)
    }

    fn issue(&self, name: &str, params: &CertificateParams) -> Result<Certified> {
        let key = KeyPair::generate()?;
        let issued = Certified {
            certificate: self.dir.join(format!("{name}.pem")),
            key: self.dir.join(format!("{name}.key")),
        };
        let certificate = params.signed_by(&key, &self.issuer)?;
        fs::write(&issued.certificate, certificate.pem())?;
        fs::write(&issued.key, key.serialize_pem())?;
        Ok(issued)
    }
}
