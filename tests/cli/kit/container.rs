//! A container as the last stage of the Dockerfile makes it: what that copies, and nothing else, on a disk that can't be written.

use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::read;
use crate::sandbox::{Ended, Sandbox, binary};

/// Where a volume is mounted, and the directory that is.
pub struct Volume<'a> {
    pub at: &'a str,
    pub from: &'a Path,
}

/// What the last stage says of how its program is started.
pub struct Image {
    pub user: u32,
    pub group: u32,
    entrypoint: String,
    pub state: String,
}

impl Image {
    /// Lays the files of the image out in the sandbox's `root`.
    pub fn unpack(sandbox: &Sandbox) -> Self {
        let dockerfile = read("Dockerfile");
        let (_, stage) = dockerfile.rsplit_once("FROM scratch\n").unwrap();
        let root = sandbox.file("root");
        let mut image = Self {
            user: 0,
            group: 0,
            entrypoint: String::new(),
            state: String::new(),
        };
        for line in stage.lines().filter(|line| !line.starts_with('#')) {
            let words: Vec<_> = line.split_whitespace().collect();
            match words[..] {
                ["COPY", "--from=build", "/image/fga-sync", to] => {
                    copy(&binary(), &inside(&root, to));
                }
                ["COPY", "--from=build", _, "/image/state", to] => {
                    fs::create_dir_all(inside(&root, to)).unwrap();
                }
                ["COPY", "--from=build", from, to] => copy(Path::new(from), &inside(&root, to)),
                ["USER", user] => {
                    let (user, group) = user.split_once(':').unwrap();
                    (image.user, image.group) = (user.parse().unwrap(), group.parse().unwrap());
                }
                ["WORKDIR", directory] => directory.clone_into(&mut image.state),
                ["ENTRYPOINT", program] => {
                    program
                        .trim_matches(['[', ']', '"'])
                        .clone_into(&mut image.entrypoint);
                }
                _ => panic!("unknown to this test: {line}"),
            }
        }
        // The image's program has none; that of the tests is not built as the image's is.
        for library in shared_libraries() {
            copy(&library, &inside(&root, library.to_str().unwrap()));
        }
        image
    }

    /// Runs the image's program as the image's user, with nothing that it may write but volumes.
    pub fn run(
        &self,
        sandbox: &Sandbox,
        volumes: &[Volume],
        env: &[(String, String)],
        arguments: &[String],
    ) -> Ended {
        const SCRIPT: &str = r#"
            set -eu
            mount --bind root root
            while [ "$1" != -- ]; do mkdir -p "root$2"; mount --bind "$1" "root$2"; shift 2; done
            mount -o remount,bind,ro root
            shift
            exec chroot --groups= "$@"
        "#;
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", SCRIPT, "container"]);
        for Volume { at, from } in volumes {
            command.arg(from).arg(at);
        }
        command
            .arg("--")
            .arg(format!("--userspec={}:{}", self.user, self.group));
        command.arg("root").arg(&self.entrypoint).args(arguments);
        command
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .envs(env.iter().map(|(name, value)| (name, value)))
            .current_dir(sandbox.path());
        command.output().unwrap().into()
    }

    /// A directory that the image's user may write.
    pub fn own_directory(&self, sandbox: &Sandbox, name: &str) -> PathBuf {
        let path = sandbox.file(name);
        fs::create_dir_all(&path).unwrap();
        chown(&path, Some(self.user), Some(self.group)).unwrap();
        path
    }
}

fn inside(root: &Path, path: &str) -> PathBuf {
    root.join(path.trim_start_matches('/'))
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to.parent().unwrap()).unwrap();
    fs::copy(from, to).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
}

fn shared_libraries() -> Vec<PathBuf> {
    let output = Command::new("ldd").arg(binary()).output().unwrap();
    let listed = String::from_utf8(output.stdout).unwrap();
    let words = listed.split_whitespace();
    words
        .filter(|word| word.starts_with('/'))
        .map(PathBuf::from)
        .collect()
}
