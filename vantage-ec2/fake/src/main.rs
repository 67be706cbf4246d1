//! `fake-ec2`: the model over HTTP, for tests in other processes. Runs until it is killed.
//!
//!   fake-ec2 --listen ADDRESS:PORT --folder FOLDER [--boot SECONDS] [--own-end no] [--program FILE] [--parameter NAME=FILE]… [-- LAUNCHER…]

use std::path::PathBuf;

use fake::http::{Server, Setup};
use fake::model::Character;

fn main() {
    let mut setup = Setup::default();
    let mut character = Character::default();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        if argument == "--" {
            setup.launcher = arguments.by_ref().collect();
            break;
        }
        let value = arguments.next().unwrap_or_else(|| panic!("{argument} lacks its value"));
        match argument.as_str() {
            "--listen" => setup.listen = value,
            "--folder" => setup.folder = PathBuf::from(value),
            "--program" => setup.program = Some(PathBuf::from(value)),
            // Instances do not end by themselves, however their script was told to.
            "--own-end" => character.script_runs = value != "no",
            "--boot" => character.boot = value.parse().expect("seconds"),
            "--parameter" => {
                let (name, file) = value.split_once('=').expect("NAME=FILE");
                let text = std::fs::read_to_string(file).unwrap_or_else(|e| panic!("{file}: {e}"));
                setup.parameters.insert(name.to_owned(), text);
            }
            other => panic!("{other} is not known"),
        }
    }
    let server = Server::start(setup);
    server.model().character = character;
    server.model().ending = 1;
    println!("{}", server.url());
    loop {
        std::thread::park();
    }
}
