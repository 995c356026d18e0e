//! `palisade man`: a manual page of each command, made of what `--help` says.
use std::path::{Path, PathBuf};
use std::{fs, io};

use clap::{Args, Command, ValueHint};
use clap_mangen::roff::{Roff, roman};

use crate::failure::Failure;

#[derive(Debug, Args)]
pub(crate) struct Man {
    /// The command whose page is printed, such as `replay access`; without it the tool's own
    #[arg(value_name = "COMMAND")]
    command: Vec<String>,

    /// Writes the pages of all commands into this folder, which is made if it is missing
    #[arg(long, value_name = "FOLDER", conflicts_with = "command", value_hint = ValueHint::DirPath)]
    into: Option<PathBuf>,
}

impl Man {
    pub(crate) const ABOUT: &str = "\
Prints the manual page of one command, or writes those of all commands into a folder. A page is named after its \
command: palisade-replay-access.1 is that of `palisade replay access`.";

    pub(crate) const EXAMPLES: &str = "\
Examples:
  Read a page:
      palisade man replay access | man -l -

  Have `man palisade` and `man palisade-replay-access` find them:
      palisade man --into ~/.local/share/man/man1";
}

/// The page that is asked for; nothing to print where the pages are written into a folder.
pub(crate) fn run(arguments: &Man, tool: Command) -> Result<String, Failure> {
    // `help` has no page of its own: it prints what the pages say.
    let mut tool = tool.disable_help_subcommand(true);
    tool.build();
    if let Some(folder) = &arguments.into {
        fs::create_dir_all(folder).map_err(|error| unwritten(folder, &error))?;
        write_all(&tool, folder)?;
        return Ok(String::new());
    }
    let page = page(find(&tool, &arguments.command)?);
    page.map_err(|error| Failure::Output(format!("the page cannot be made: {error}")))
}

fn find<'a>(tool: &'a Command, path: &[String]) -> Result<&'a Command, Failure> {
    let mut found = tool;
    for name in path {
        found = found.find_subcommand(name).ok_or_else(|| {
            let known = found.get_subcommands();
            let known: Vec<_> = known
                .map(|known| format!("`{}`", known.get_name()))
                .collect();
            let allowed = match &known[..] {
                [] => "nothing more".to_owned(),
                known => known.join(", "),
            };
            let name = name.escape_debug();
            let before = found.get_bin_name().unwrap_or_else(|| found.get_name());
            Failure::Setting(format!(
                "there is no page of `{before} {name}`: after `{before}` allowed is {allowed}"
            ))
        })?;
    }
    Ok(found)
}

fn write_all(command: &Command, folder: &Path) -> Result<(), Failure> {
    let file = folder.join(format!("{}.1", title(command)));
    page(command)
        .and_then(|page| fs::write(&file, page))
        .map_err(|error| unwritten(&file, &error))?;
    command
        .get_subcommands()
        .try_for_each(|command| write_all(command, folder))
}

fn unwritten(path: &Path, error: &io::Error) -> Failure {
    Failure::Output(format!("{}: {error}", path.display()))
}

/// `palisade-replay-access`.
fn title(command: &Command) -> &str {
    command
        .get_display_name()
        .unwrap_or_else(|| command.get_name())
}

fn page(command: &Command) -> io::Result<String> {
    let man = clap_mangen::Man::new(command.clone())
        // An empty date must be quoted, or the source takes its place.
        .date("\"\"")
        .source(concat!("palisade ", env!("CARGO_PKG_VERSION")))
        .manual("palisade");
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page)?;
    }
    if let Some(text) = command.get_after_long_help() {
        after_help(&text.to_string()).to_writer(&mut page)?;
    }
    String::from_utf8(page).map_err(io::Error::other)
}

/// What follows the options in `--help`. `Exit status: …` at the beginning of a paragraph makes the section EXIT STATUS.
/// Lines that are indented by six or more are commands, which stay as they are.
fn after_help(text: &str) -> Roff {
    let mut roff = Roff::new();
    for paragraph in text.split("\n\n") {
        let body = match paragraph.split_once(':') {
            Some((heading, body)) if !heading.starts_with(' ') => {
                roff.control("SH", [heading.to_uppercase().as_str()]);
                body
            }
            _ => {
                roff.control("PP", []);
                paragraph
            }
        };
        let (commands, prose): (Vec<_>, Vec<_>) = body
            .lines()
            .filter(|line| !line.is_empty())
            .partition(|line| line.starts_with("      "));
        for line in prose {
            roff.text([roman(line.trim_start())]);
        }
        if !commands.is_empty() {
            roff.control("RS", ["4"]).control("nf", []);
            for line in commands {
                roff.text([roman(&line[6..])]);
            }
            roff.control("fi", []).control("RE", []);
        }
    }
    roff
}
