//! Prints errors: what is wrong, the place underlined, and what to do.

use std::fmt;
use std::io::IsTerminal;

use miette::{Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource, SourceCode};

use super::masked::Masked;
use crate::error::{Error, Kind};

/// The style of the terminal.
#[derive(Debug, Clone, Copy)]
pub(super) struct Style {
    /// Whether to use colours.
    pub(super) color: bool,
    /// The width, in columns.
    pub(super) width: usize,
}

impl Style {
    /// The style of standard error: with colours on a terminal, unless NO_COLOR is set.
    pub(super) fn of_stderr() -> Style {
        let terminal = std::io::stderr().is_terminal();
        let color = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let width = terminal_size::terminal_size_of(std::io::stderr()).map_or(120, |(width, _)| usize::from(width.0));
        Style { color, width: width.clamp(40, 160) }
    }
}

/// Formats an error. Errors in SQL files or settings are printed one after the other.
pub(super) fn render(error: &Error, style: Style) -> String {
    let theme = if style.color { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
    let handler = GraphicalReportHandler::new_themed(theme).with_width(style.width).with_links(false).without_cause_chain();
    let mut text = String::new();
    let shown = shown(error);
    for one in &shown {
        if handler.render_report(&mut text, one).is_err() {
            text.push_str(&one.message);
        }
    }
    if shown.len() > 1 {
        text.push_str(&format!("{} errors\n", shown.len()));
    }
    text
}

/// Whether the reader of standard output has closed it.
pub(super) fn is_broken_pipe(error: &Error) -> bool {
    matches!(error, Error::Connector(alluvium_connectors::Error::Io { error, .. }) if error.kind() == std::io::ErrorKind::BrokenPipe)
}

fn shown(error: &Error) -> Vec<Shown> {
    match error {
        Error::Sql(errors) | Error::Settings(errors) => errors.0.iter().map(Shown::at_place).collect(),
        error => {
            let help = error.help().or_else(|| {
                (error.kind() == Kind::Bug)
                    .then(|| "this is a bug in Alluvium: please report it, with the steps that led to it".to_owned())
            });
            vec![Shown { message: error.to_string(), help, source: None, label: None }]
        }
    }
}

struct Shown {
    message: String,
    help: Option<String>,
    source: Option<NamedSource<String>>,
    label: Option<LabeledSpan>,
}

impl Shown {
    fn at_place(error: &alluvium_sql::Error) -> Shown {
        let masked = Masked::new(&error.at.file.path, &error.at.file.text);
        let text = &masked.text;
        // Clamp the place: one at or beyond the end of the text must not keep the message from being shown.
        let start = text.floor_char_boundary(error.at.offset.min(text.len()));
        let end = text.ceil_char_boundary((start + error.at.length).min(text.len()));
        Shown {
            message: masked.message(&error.message),
            help: error.help.as_deref().map(|help| masked.message(help)),
            source: Some(NamedSource::new(&error.at.file.path, text.clone())),
            label: Some(LabeledSpan::new(None, start, end - start)),
        }
    }
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Shown {}

impl Diagnostic for Shown {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.help.as_ref().map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.source.as_ref().map(|source| source as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        self.label.clone().map(|label| Box::new(std::iter::once(label)) as Box<dyn Iterator<Item = LabeledSpan>>)
    }
}
