//! What a shell needs to complete the command line.
//!
//! In: a [`CompletionFor`]. Out: the script for a shell, or the file for Helm. Refuses: nothing.

use clap::{Arg, Command, CommandFactory};
use clap_complete::{Shell, generate};
use serde_json::{Value, json};

use crate::cli::{Cli, CompletionFor};

/// The text to give to a shell or to Helm.
pub(crate) fn text(reader: CompletionFor) -> Vec<u8> {
    let mut command = Cli::command();
    let shell = match reader {
        CompletionFor::Bash => Shell::Bash,
        CompletionFor::Fish => Shell::Fish,
        CompletionFor::Powershell => Shell::PowerShell,
        CompletionFor::Zsh => Shell::Zsh,
        // JSON is YAML.
        CompletionFor::Helm => return format!("{:#}\n", helm(&command)).into_bytes(),
    };
    let mut text = Vec::new();
    generate(shell, &mut command, env!("CARGO_PKG_NAME"), &mut text);
    text
}

/// What Helm takes away from a plugin, and completes itself. With a `-n` of another name, its completion panics.
const OF_HELM: [&str; 2] = ["namespace", "n"];

/// `completion.yaml` of a Helm plugin (helm `pkg/cmd/load_plugins.go`, pluginCommand).
fn helm(command: &Command) -> Value {
    let mut flags: Vec<_> = command
        .get_arguments()
        .filter(|argument| !argument.is_positional())
        .map(names)
        .collect();
    // Helm joins the first short name with the first long one, the second with the second.
    flags.sort_by_key(|(_, short)| short.is_none());
    let long = flags.iter().flat_map(|(long, _)| long.clone());
    let short = flags.iter().filter_map(|(_, short)| short.clone());
    let values = command.get_positionals().flat_map(Arg::get_possible_values);
    let mut file = json!({
        "name": command.get_name(),
        "flags": long.chain(short).collect::<Vec<_>>(),
        "validArgs": values.map(|value| value.get_name().to_owned()).collect::<Vec<_>>(),
    });
    // A command that has this field, even an empty list, completes no files.
    if command.has_subcommands()
        && let Some(file) = file.as_object_mut()
    {
        let commands = command.get_subcommands().map(helm).collect();
        file.insert("commands".to_owned(), Value::Array(commands));
    }
    file
}

/// The long names of a flag, and its short one.
fn names(flag: &Arg) -> (Vec<String>, Option<String>) {
    let is_ours = |name: &String| !OF_HELM.contains(&name.as_str());
    let long = flag.get_long_and_visible_aliases().unwrap_or_default();
    let short = flag.get_short().map(String::from).filter(is_ours);
    let long = long.into_iter().map(str::to_owned).filter(is_ours);
    (long.collect(), short)
}
