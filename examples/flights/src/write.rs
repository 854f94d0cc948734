//! Writes events as JSON lines.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;

use miette::{IntoDiagnostic, Result, WrapErr};

use crate::message::Source;
use crate::timeline::Timeline;

/// Writes all events in order of time to standard output. Ends without an error if the reader closes the pipe.
pub(crate) fn to_stdout(timeline: &Timeline<'_>) -> Result<()> {
    let mut output = BufWriter::with_capacity(1 << 20, io::stdout().lock());
    for message in timeline.messages() {
        match writeln!(output, "{}", message?.body) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            written => written.into_diagnostic().wrap_err("writing to standard output")?,
        }
    }
    output.flush().into_diagnostic().wrap_err("writing to standard output")
}

/// Writes one file per source, `<source>.jsonl`, in order of time. Replaces existing files.
pub(crate) fn to_folder(timeline: &Timeline<'_>, folder: &Path) -> Result<()> {
    let writing = || format!("writing to {}", folder.display());
    fs::create_dir_all(folder).into_diagnostic().wrap_err_with(writing)?;
    let mut files = Vec::new();
    for source in Source::ALL {
        let file = File::create(folder.join(format!("{}.jsonl", source.name()))).into_diagnostic().wrap_err_with(writing)?;
        files.push(BufWriter::with_capacity(1 << 20, file));
    }
    for message in timeline.messages() {
        let message = message?;
        writeln!(files[message.source as usize], "{}", message.body).into_diagnostic().wrap_err_with(writing)?;
    }
    for mut file in files {
        file.flush().into_diagnostic().wrap_err_with(writing)?;
    }
    eprintln!("wrote {} events to {}", timeline.events.len(), folder.display());
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::message::Source;

    #[test]
    fn sources_are_numbered_as_they_are_listed() {
        for (index, source) in Source::ALL.into_iter().enumerate() {
            assert_eq!(source as usize, index, "{source:?}");
        }
    }
}
