//! Many short texts in one piece of memory, with an end mark behind each: what is looked for in all of them is found in
//! one pass, and no match spans two.

/// Stands behind each text, and in none.
const END: char = '\n';

/// Texts in the order in which they came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Texts {
    text: Box<str>,
    /// Where each text begins, and where the next one would.
    starts: Box<[u32]>,
}

impl Texts {
    /// The longest beginning of `texts` whose positions fit in 32 bits. None may hold a line end.
    pub(super) fn of<'a>(
        texts: impl Iterator<Item = &'a str> + Clone,
        mut append: impl FnMut(&mut String, &str),
    ) -> Self {
        let (count, bytes) = texts.clone().fold((0, 0), |(count, bytes), text| (count + 1, bytes + text.len() + 1));
        let (mut text, mut starts) = (String::with_capacity(bytes), Vec::with_capacity(count + 1));
        starts.push(0);
        for one in texts {
            append(&mut text, one);
            text.push(END);
            let Ok(end) = u32::try_from(text.len()) else { break };
            starts.push(end);
        }
        Self { text: text.into_boxed_str(), starts: starts.into_boxed_slice() }
    }

    pub(super) fn len(&self) -> usize {
        self.starts.len().saturating_sub(1)
    }

    /// The text with this number; an empty one if there is none.
    pub(super) fn get(&self, index: usize) -> &str {
        let end = self.start(index + 1).saturating_sub(END.len_utf8());
        self.text.get(self.start(index)..end).unwrap_or_default()
    }

    /// All texts, each with its end mark.
    pub(super) fn all(&self) -> &str {
        &self.text
    }

    /// Where the text with this number begins in [`Self::all`].
    pub(super) fn start(&self, index: usize) -> usize {
        self.starts.get(index).map_or(self.text.len(), |start| usize::try_from(*start).unwrap_or(usize::MAX))
    }

    /// The text that holds this position, which lies in the text `from` or behind it. The nearer the faster.
    pub(super) fn index_at(&self, from: usize, position: usize) -> usize {
        let is_at_most = |start: &u32| usize::try_from(*start).is_ok_and(|start| start <= position);
        let (mut low, mut step) = (from, 1);
        while self.starts.get(low + step).is_some_and(is_at_most) {
            low += step;
            step *= 2;
        }
        let between = self.starts.get(low + 1..self.starts.len().min(low + step)).unwrap_or_default();
        low + between.partition_point(is_at_most)
    }

    pub(super) fn bytes(&self) -> usize {
        self.text.len() + size_of_val(&*self.starts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_lead_to_their_texts() {
        let words: Vec<String> = (0..300).map(|n| "x".repeat(n % 7)).collect();
        let texts = Texts::of(words.iter().map(String::as_str), |all, one| all.push_str(one));
        assert_eq!(texts.len(), 300);
        for (index, word) in words.iter().enumerate() {
            assert_eq!(texts.get(index), word);
            for from in [0, index / 2, index] {
                for position in texts.start(index)..texts.start(index + 1) {
                    assert_eq!(texts.index_at(from, position), index);
                }
            }
        }
        assert_eq!((texts.get(300), texts.start(300)), ("", texts.all().len()));
        assert_eq!(Texts::of(std::iter::empty(), |_, _| {}).len(), 0);
        assert_eq!(Texts::default().get(0), "");
    }
}
