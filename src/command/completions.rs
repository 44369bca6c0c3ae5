//! `fga-sync completions`: what a shell reads to complete our command lines.
//!
//! The script asks this program for each completion, so that jobs, paths and values are those of the moment.

use clap::ValueEnum;
use clap_complete::CompleteEnv;
use clap_complete::env::{Bash, EnvCompleter, Fish, Zsh};

use super::print;
use crate::cli;
use crate::error::{Error, ErrorKind, Result};

/// By this variable the script asks. It has no name of a setting.
const VARIABLE: &str = "_FGA_SYNC_COMPLETE";
const NAME: &str = "fga-sync";

/// To Bash a colon and an equals sign end a word, so `file:pages` is three. This puts them together for clap's function, and takes off again
/// what stands before the part that Bash replaces.
const WHOLE_WORDS: &str = r#"
_fga_sync() {
    local rest=$COMP_LINE words=() index
    for ((index = 0; index <= COMP_CWORD; index++)); do
        if ((index > 0)) && [[ $rest != [[:blank:]]* ]]; then
            words[-1]+=${COMP_WORDS[index]}
        else
            words+=("${COMP_WORDS[index]}")
        fi
        rest=${rest#"${rest%%[![:blank:]]*}"}
        rest=${rest#"${COMP_WORDS[index]}"}
    done
    local before=${words[-1]%"$2"}
    local COMP_WORDS=("${words[@]}") COMP_CWORD=$((${#words[@]} - 1))
    _clap_complete_fga_sync "$1" "${words[-1]}" "${words[-2]}"
    COMPREPLY=("${COMPREPLY[@]#"$before"}")
}
complete -o nospace -o bashdefault -o nosort -F _fga_sync fga-sync
"#;

/// Clap's function for Zsh ends each word with a blank, `file:` and its directories too. Here those are only begun.
const BEGUN_WORDS: &str = r#"
function _fga_sync() {
    local -a whole begun
    local candidate
    for candidate in "${(@f)$(_FGA_SYNC_COMPLETE=zsh _CLAP_IFS=$'\n' _CLAP_COMPLETE_INDEX=$((CURRENT - 1)) \
        fga-sync -- "${words[@]}" 2>/dev/null)}"; do
        case $candidate in
            '') ;;
            */ | *\\: | *=) begun+=("$candidate") ;;
            *) whole+=("$candidate") ;;
        esac
    done
    (($#begun)) && _describe -V 'values' begun -S ''
    (($#whole)) && _describe -V 'values' whole
}
compdef _fga_sync fga-sync
"#;

/// A shell whose completions are tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    /// Bash 4.4 and later.
    Bash,
    /// Zsh.
    Zsh,
    /// Fish.
    Fish,
}

impl Shell {
    fn completer(self) -> &'static dyn EnvCompleter {
        match self {
            Self::Bash => &Bash,
            Self::Zsh => &Zsh,
            Self::Fish => &Fish,
        }
    }

    /// What the shell is to read.
    ///
    /// # Errors
    /// Where it can't be written, which a text in memory always can.
    pub fn script(self) -> Result<String> {
        let mut script = Vec::new();
        let written = self
            .completer()
            .write_registration(VARIABLE, NAME, NAME, NAME, &mut script);
        let text = written.and_then(|()| {
            String::from_utf8(script).map_err(|error| std::io::Error::other(error.to_string()))
        });
        let text = text.map_err(|error| {
            Error::new(ErrorKind::Unexpected, "can't write the completions").because(error)
        })?;
        Ok(match self {
            Self::Bash => text + WHOLE_WORDS,
            Self::Zsh => text + BEGUN_WORDS,
            Self::Fish => text,
        })
    }
}

pub(super) fn completions(shell: Shell) -> Result<u8> {
    print(&shell.script()?)?;
    Ok(0)
}

/// Answers a shell's script, and ends the process, where it is one that asks.
pub fn complete_if_asked() {
    CompleteEnv::with_factory(cli::command)
        .var(VARIABLE)
        .bin(NAME)
        .completer(NAME)
        .complete();
}
