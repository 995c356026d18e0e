//! `palisade completions`: scripts that teach a shell the commands and their flags.
use clap::{Args, Command};
use clap_complete::Shell;

use crate::failure::Failure;

#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// The shell that the script is for
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

impl Completions {
    pub(crate) const ABOUT: &str = "\
Prints a script that completes the commands and flags of palisade in your shell, when the Tab key is pressed. Print it \
anew after an update.";

    pub(crate) const EXAMPLES: &str = "\
Examples:
  In this Bash alone:
      source <(palisade completions bash)

  In every Bash, with the package bash-completion:
      mkdir -p ~/.local/share/bash-completion/completions
      palisade completions bash > ~/.local/share/bash-completion/completions/palisade

  In every Zsh, where a folder of $fpath is yours:
      palisade completions zsh > ~/.zfunc/_palisade

  In every fish:
      palisade completions fish > ~/.config/fish/completions/palisade.fish";
}

/// The script for a shell, of all that `tool` knows.
pub(crate) fn run(arguments: &Completions, mut tool: Command) -> Result<String, Failure> {
    let name = tool.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut tool, name, &mut script);
    String::from_utf8(script).map_err(|error| Failure::Output(error.to_string()))
}
