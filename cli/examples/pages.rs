//! Writes the manual pages and the shells' completions of the command line into a folder, below `man` and `completions`:
//!
//! ```text
//! cargo run -p whostalled --example pages -- FOLDER
//! ```

use std::fs;
use std::path::{Path, PathBuf};

use clap::CommandFactory;
use clap_complete::{Shell, generate_to};
use command_line::args::Arguments;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::args_os().nth(1).map(PathBuf::from).ok_or("name a folder")?;
    let manual = folder.join("man");
    fs::create_dir_all(&manual)?;
    clap_mangen::generate_to(Arguments::command(), &manual)?;
    for (shell, name) in [(Shell::Bash, "bash"), (Shell::Zsh, "zsh"), (Shell::Fish, "fish")] {
        let folder = folder.join("completions").join(name);
        fs::create_dir_all(&folder)?;
        generate_to(shell, &mut Arguments::command(), "whostalled", Path::new(&folder))?;
    }
    Ok(())
}
