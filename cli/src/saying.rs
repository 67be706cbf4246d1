//! What goes to standard output. A place that cannot take it (a full disk) is an error; whoever stops to read (`| head`) is none.
//! And what goes to standard error while something goes on that must not end for nobody hearing it.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};

/// One line, as it is.
///
/// # Errors
/// If it cannot be written.
pub(crate) fn line(what: impl Display) -> io::Result<()> {
    heard(writeln!(io::stdout(), "{what}").and_then(|()| io::stdout().flush()))
}

/// Text, without colours where nobody would see them.
///
/// # Errors
/// If it cannot be written.
pub(crate) fn coloured(text: impl Display) -> io::Result<()> {
    let mut out = anstream::stdout();
    heard(write!(out, "{text}").and_then(|()| out.flush()))
}

/// Tells whoever watches, on standard error. That nobody does any more (a closed terminal, `2>&1 | head`) ends nothing: what was brought up is
/// to be taken down all the same.
pub(crate) fn aside(what: impl Display) {
    let _ = writeln!(io::stderr(), "{what}");
}

/// Takes nobody's listening any more for none of our concern.
///
/// # Errors
/// What else went wrong.
pub(crate) fn heard(written: io::Result<()>) -> io::Result<()> {
    match written {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(io::Error::new(error.kind(), format!("standard output cannot be written: {error}")))
        }
        _ => Ok(()),
    }
}
