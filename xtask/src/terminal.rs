//! docs/trap-terminal.svg: the session of README.md as a terminal shows it. The tests on the cluster compare the session with what
//! real Helm and kubectl print.

use std::fmt::Write;

use anstyle::{Color, RgbColor, Style};
use anstyle_svg::Term;
use textwrap::{Options, WordSplitter};

use crate::files::File;

pub(crate) const SESSION: &str = "e2e-tests/cluster/tests/guarded/readme.txt";

/// As wide as the text of a page on GitHub.
const COLUMNS: usize = 100;

// The picture brings its own background, so that it reads the same on light and dark pages.
const TEXT: RgbColor = RgbColor(0xe6, 0xed, 0xf3);
const BACKGROUND: RgbColor = RgbColor(0x16, 0x1b, 0x22);
const COMMENT: Style = RgbColor(0x7e, 0xe7, 0x87).on_default();
const COMMAND: Style = RgbColor(0x79, 0xc0, 0xff).on_default().bold();
const ERROR: Style = RgbColor(0xff, 0xa1, 0x98).on_default();

pub(crate) fn file(session: &str) -> File {
    let terminal = Term::new()
        .fg_color(Color::Rgb(TEXT))
        .bg_color(Color::Rgb(BACKGROUND));
    File {
        name: "docs/trap-terminal.svg",
        text: terminal.render_svg(&screen(session)),
    }
}

/// The session with its lines wrapped, and with colours for who reads it: Helm and kubectl print none.
pub(crate) fn screen(session: &str) -> String {
    // A terminal breaks words. They are easier to read if they stay whole.
    let wrapped = Options::new(COLUMNS).word_splitter(WordSplitter::NoHyphenation);
    let mut screen = String::new();
    for line in session.lines() {
        let style = style(line);
        for row in textwrap::wrap(line, &wrapped) {
            let _ = writeln!(screen, "{style}{row}{style:#}");
        }
    }
    screen
}

fn style(line: &str) -> Style {
    match line.split(' ').next() {
        Some("#") => COMMENT,
        Some("$") => COMMAND,
        Some(word) if word.starts_with("Error") => ERROR,
        _ => Style::new(),
    }
}
