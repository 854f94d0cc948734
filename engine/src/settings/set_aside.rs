//! How much a view may set aside of what it reads, and what happens where a source has lost events. From strong to weak: the view's
//! options, the source's, the folder's settings.

use std::collections::BTreeMap;

use alluvium_sql::{MaxDeadLetters, OnError, ViewOptions};

/// What the options of a source say of it; the engine's options, which no kind of source knows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OfSource {
    on_error: Option<OnError>,
    max_dead_letters: Option<MaxDeadLetters>,
    /// That it selects nothing of what it passes is nothing to be told.
    pub may_be_silent: bool,
    /// What happens where it is another one than before, or has lost events that were not read; what the folder says if `None`.
    pub on_gap: Option<OnGap>,
}

/// What happens where a source is another one than before, or has lost events that were not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnGap {
    /// The views that read it stop.
    Stop,
    /// They are rebuilt.
    Rebuild,
    /// Reading goes on without events that are lost; the source itself does that. Of another source, the folder decides.
    Continue,
}

const ON_ERROR: &str = "on_error";
const MAX_DEAD_LETTERS: &str = "max_dead_letters";
const ON_NO_EVENTS: &str = "on_no_events";
const ON_GAP: &str = "on_gap";

impl OfSource {
    /// Takes these options out of those of a source.
    ///
    /// # Errors
    /// A value that is none: what is wrong, with the option's name, and what to write.
    pub fn take(source: &str, options: &mut BTreeMap<String, String>) -> Result<OfSource, (String, String)> {
        let mut of = OfSource::default();
        let wrong = |name: &str, value: &str, write: &str| {
            (format!("source {source}: option '{name}' is '{value}'"), format!("write {}", write.replacen(" = ", " ", 1)))
        };
        if let Some(value) = options.remove(ON_ERROR) {
            of.on_error = Some(OnError::parse(&value).ok_or_else(|| wrong(ON_ERROR, &value, OnError::WRITE))?);
        }
        if let Some(value) = options.remove(MAX_DEAD_LETTERS) {
            let share = MaxDeadLetters::parse(&value);
            of.max_dead_letters = Some(share.ok_or_else(|| wrong(MAX_DEAD_LETTERS, &value, MaxDeadLetters::WRITE))?);
        }
        if let Some(value) = options.remove(ON_NO_EVENTS) {
            of.may_be_silent = match value.to_ascii_lowercase().as_str() {
                "warn" => false,
                "ignore" => true,
                _ => return Err(wrong(ON_NO_EVENTS, &value, "on_no_events = 'warn', or 'ignore'")),
            };
        }
        if let Some(value) = options.get(ON_GAP) {
            let on_gap = match value.to_ascii_lowercase().as_str() {
                "stop" => OnGap::Stop,
                "rebuild" => OnGap::Rebuild,
                "continue" => OnGap::Continue,
                _ => return Err(wrong(ON_GAP, value, "on_gap = 'stop', 'rebuild' or 'continue'")),
            };
            of.on_gap = Some(on_gap);
            if on_gap != OnGap::Continue {
                options.remove(ON_GAP);
            }
        }
        Ok(of)
    }
}

/// What holds for one view on one source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tolerance {
    /// What becomes of an event that cannot be applied.
    pub on_error: OnError,
    /// The share of events that may be set aside.
    pub max_dead_letters: MaxDeadLetters,
}

impl Tolerance {
    /// Of a view and of sources, of which the strictest counts, over what the folder says.
    #[must_use]
    pub fn of<'a>(view: &ViewOptions, sources: impl Iterator<Item = &'a OfSource>, folder: Tolerance) -> Tolerance {
        let mut all = folder;
        for source in sources {
            let stops = source.on_error == Some(OnError::Stop);
            all.on_error = if stops { OnError::Stop } else { source.on_error.unwrap_or(all.on_error) };
            all.max_dead_letters = source.max_dead_letters.unwrap_or(all.max_dead_letters);
            if stops {
                break;
            }
        }
        Tolerance {
            on_error: view.on_error.unwrap_or(all.on_error),
            max_dead_letters: view.max_dead_letters.unwrap_or(all.max_dead_letters),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_view_goes_before_its_source_and_a_source_before_the_folder() {
        let share = |text| MaxDeadLetters::parse(text).unwrap();
        let folder = Tolerance { on_error: OnError::DeadLetter, max_dead_letters: share("50%") };
        let mut options: BTreeMap<String, String> =
            [("on_error", "stop"), ("max_dead_letters", "1%"), ("subject", "a.>"), ("on_no_events", "ignore")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into();
        let source = OfSource::take("orders", &mut options).unwrap();
        assert_eq!((options.len(), source.may_be_silent), (1, true));
        let plain = ViewOptions::default();
        assert_eq!(Tolerance::of(&plain, std::iter::empty(), folder), folder);
        let of_source = Tolerance { on_error: OnError::Stop, max_dead_letters: share("1%") };
        assert_eq!(Tolerance::of(&plain, [source, OfSource::default()].iter(), folder), of_source);
        let view = ViewOptions { on_error: Some(OnError::DeadLetter), max_dead_letters: Some(share("off")), ..plain };
        let of_view = Tolerance { on_error: OnError::DeadLetter, max_dead_letters: share("off") };
        assert_eq!(Tolerance::of(&view, [source].iter(), folder), of_view);

        for (value, on_gap, left) in [("stop", OnGap::Stop, 1), ("Rebuild", OnGap::Rebuild, 1), ("continue", OnGap::Continue, 2)]
        {
            options.insert("on_gap".into(), value.into());
            assert_eq!(OfSource::take("orders", &mut options).unwrap().on_gap, Some(on_gap));
            assert_eq!(options.len(), left, "{value}");
        }
        options.insert("max_dead_letters".into(), "many".into());
        let (message, help) = OfSource::take("orders", &mut options).unwrap_err();
        assert_eq!(message, "source orders: option 'max_dead_letters' is 'many'");
        assert_eq!(help, "write max_dead_letters '1%', from '0%' to '100%', or 'off'");
    }
}
