//! Facts → a page from which they are copied into a ticket: `cargo run -p whostalled-pages --example copy_ticket > ticket.html`

use whostalled_pages::{Frame, Ticket};

fn main() {
    let ticket =
        Ticket::new("login from fra-1: connection refused (the edge)").fact("Target", "login.example.com:443".to_owned());
    eprint!("{}\n{}", ticket.text(), ticket.markdown());
    let frame = Frame { title: "a ticket", styles: "", refresh: false, nav: &[] };
    println!("{}", frame.around(&ticket.render("login")));
}
