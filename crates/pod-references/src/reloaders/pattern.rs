//! The regular expressions in Reloader's lists.
//!
//! In: an entry of a list, and the name of an object. Out: whether the expression is found in the name,
//! after Reloader put it between `^` and `$`. Refuses: what the names of objects hardly need, namely
//! counted repetition, a repeated group, flags and named classes.
//!
//! The work is the length of the expression times that of the name: all places in the name that have
//! been reached are followed at once. `regex-lite` would add 64 kB of wasm, which is a fifteenth of the policy.

use std::{iter::Peekable, mem, ops::RangeInclusive, str::Chars};

/// Groups in groups.
const MAX_NESTING: usize = 8;

/// An expression that can be matched with names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern(Alternatives);

type Alternatives = Vec<Vec<Piece>>;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Start,
    End,
    Group(Alternatives),
    Characters {
        set: Set,
        /// `?` or `*`
        optional: bool,
        /// `+` or `*`
        many: bool,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Set {
    ranges: Vec<RangeInclusive<char>>,
    negated: bool,
}

impl Pattern {
    /// `None`: not supported, or no regular expression at all.
    pub(super) fn parse(entry: &str) -> Option<Self> {
        // An alternative in the entry is therefore anchored at one end only, as in Reloader.
        let text = format!("^{entry}$");
        let mut rest = text.chars().peekable();
        let pattern = alternatives(&mut rest, 0)?;
        rest.next().is_none().then_some(Self(pattern))
    }

    pub(super) fn matches(&self, name: &str) -> bool {
        let name: Vec<char> = name.chars().collect();
        let anywhere = vec![true; name.len() + 1];
        ends(&self.0, &anywhere, &name).contains(&true)
    }
}

/// Parses up to the end, or to the parenthesis that closes the group.
fn alternatives(rest: &mut Peekable<Chars<'_>>, nesting: usize) -> Option<Alternatives> {
    let mut alternatives = Vec::new();
    let mut pieces = Vec::new();
    while let Some(c) = rest.next_if(|&c| c != ')') {
        let piece = match c {
            '|' => {
                alternatives.push(mem::take(&mut pieces));
                continue;
            }
            '^' => Piece::Start,
            '$' => Piece::End,
            '(' => group(rest, nesting)?,
            '[' => Piece::one(class(rest)?),
            '\\' => Piece::one(escaped(rest.next()?)?),
            '.' => Piece::one(Set::any()),
            '*' | '+' | '?' | '{' | '}' | ']' => return None,
            c => Piece::one(Set::of(c)),
        };
        pieces.extend(match repetition(rest) {
            None => Some(piece),
            Some(repetition) => piece.repeated(repetition)?,
        });
    }
    alternatives.push(pieces);
    Some(alternatives)
}

fn group(rest: &mut Peekable<Chars<'_>>, nesting: usize) -> Option<Piece> {
    if nesting == MAX_NESTING {
        return None;
    }
    if rest.next_if_eq(&'?').is_some() {
        rest.next_if_eq(&':')?;
    }
    let group = alternatives(rest, nesting + 1)?;
    rest.next_if_eq(&')')?;
    Some(Piece::Group(group))
}

/// What follows a piece; `*?` finds the same names as `*`.
fn repetition(rest: &mut Peekable<Chars<'_>>) -> Option<char> {
    let repetition = rest.next_if(|c| matches!(c, '*' | '+' | '?'))?;
    rest.next_if_eq(&'?');
    Some(repetition)
}

/// The rest of `[a-z0-9]`.
fn class(rest: &mut Peekable<Chars<'_>>) -> Option<Set> {
    let negated = rest.next_if_eq(&'^').is_some();
    let mut ranges = Vec::new();
    loop {
        let first = match rest.next()? {
            ']' if !ranges.is_empty() => return Some(Set { ranges, negated }),
            '[' => return None,
            '\\' => {
                ranges.extend(escaped(rest.next()?)?.ranges);
                continue;
            }
            first => first,
        };
        let mut last = first;
        if rest.next_if_eq(&'-').is_some() {
            last = match rest.peek()? {
                // A hyphen at the end stands for itself.
                ']' => {
                    ranges.push('-'..='-');
                    first
                }
                '[' | '\\' => return None,
                &last => {
                    rest.next();
                    last
                }
            };
        }
        if last < first {
            return None;
        }
        ranges.push(first..=last);
    }
}

fn escaped(c: char) -> Option<Set> {
    match c {
        'd' => Some(Set::ranges([('0', '9')])),
        'w' => Some(Set::ranges([
            ('0', '9'),
            ('A', 'Z'),
            ('_', '_'),
            ('a', 'z'),
        ])),
        c => c.is_ascii_punctuation().then(|| Set::of(c)),
    }
}

impl Set {
    fn of(c: char) -> Self {
        Self::ranges([(c, c)])
    }

    fn any() -> Self {
        Self {
            negated: true,
            ..Self::ranges([])
        }
    }

    fn ranges<const N: usize>(ranges: [(char, char); N]) -> Self {
        Self {
            ranges: ranges.map(|(first, last)| first..=last).into(),
            negated: false,
        }
    }

    fn has(&self, c: char) -> bool {
        self.ranges.iter().any(|range| range.contains(&c)) != self.negated
    }
}

impl Piece {
    fn one(set: Set) -> Self {
        Self::Characters {
            set,
            optional: false,
            many: false,
        }
    }

    /// The piece with a repetition; the inner `None` if it then says nothing.
    fn repeated(self, repetition: char) -> Option<Option<Self>> {
        let optional = repetition != '+';
        let many = repetition != '?';
        match self {
            Self::Characters { set, .. } => Some(Some(Self::Characters {
                set,
                optional,
                many,
            })),
            Self::Group(mut group) if !many => {
                group.push(Vec::new());
                Some(Some(Self::Group(group)))
            }
            Self::Group(_) => None,
            // So that `*-config` finds what ends with it.
            Self::Start | Self::End => Some((!optional).then_some(self)),
        }
    }

    /// Where it can end in `name`, if it begins at one of the `starts`: before each character, and after the last.
    fn ends(&self, starts: &[bool], name: &[char]) -> Vec<bool> {
        let only = |place: usize| {
            let starts = starts.iter().enumerate();
            starts.map(move |(at, &start)| start && at == place)
        };
        match self {
            Self::Start => only(0).collect(),
            Self::End => only(name.len()).collect(),
            Self::Group(group) => ends(group, starts, name),
            Self::Characters {
                set,
                optional,
                many,
            } => {
                let mut last = false;
                let moved = starts.iter().zip(name).map(|(&start, &c)| {
                    last = (start || *many && last) && set.has(c);
                    last
                });
                let ends = [false].into_iter().chain(moved);
                ends.zip(starts)
                    .map(|(end, &start)| end || *optional && start)
                    .collect()
            }
        }
    }
}

fn ends(alternatives: &Alternatives, starts: &[bool], name: &[char]) -> Vec<bool> {
    let mut all = vec![false; starts.len()];
    for pieces in alternatives {
        let ends = pieces
            .iter()
            .fold(starts.to_vec(), |starts, piece| piece.ends(&starts, name));
        for (all, end) in all.iter_mut().zip(ends) {
            *all |= end;
        }
    }
    all
}
