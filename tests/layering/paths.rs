//! Finds every path (`a::b::c`) that a Rust source text names, in `use` trees and in the code itself.
//!
//! A small scanner, not a parser: it drops comments and literals, cuts the rest into words and signs, expands `{..}`
//! after `::`, and turns `crate`, `self` and `super` into absolute paths. Text that macros make up is not seen, nor is
//! the code in doc comments.

use std::iter::Peekable;
use std::str::Chars;

/// One path that a source text names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// Line in the source text, counted from 1.
    pub line: usize,
    /// Segments. Paths into this crate begin with `crate`, a glob ends in `*`.
    pub path: Vec<String>,
}

impl Named {
    /// The path as it would be written.
    pub fn text(&self) -> String {
        self.path.join("::")
    }
}

/// A word or a sign, with its line.
#[derive(Clone, Debug)]
struct Token {
    line: usize,
    text: String,
}

/// Whether the code (not a comment, not a string) contains `word`; answers with the lines.
pub fn lines_with_word(source: &str, word: &str) -> Vec<usize> {
    tokens(source).iter().filter(|token| token.text == word).map(|token| token.line).collect()
}

/// All paths of at least two segments, and what `use` names even if it is one word.
///
/// `module` is the absolute path of the module that the text is the body of, without `crate`.
pub fn named_paths(source: &str, module: &[String]) -> Vec<Named> {
    let tokens = tokens(source);
    let mut scanner =
        Scanner { tokens: &tokens, at: 0, module: module.to_vec(), inline: Vec::new(), found: Vec::new() };
    scanner.run();
    scanner.found
}

struct Scanner<'a> {
    tokens: &'a [Token],
    at: usize,
    /// Module of the code being read, inline modules included.
    module: Vec<String>,
    /// Open braces: `true` for those of an inline module.
    inline: Vec<bool>,
    found: Vec<Named>,
}

impl Scanner<'_> {
    fn run(&mut self) {
        while let Some(text) = self.peek(0).map(str::to_owned) {
            match text.as_str() {
                "mod" if self.peek(2) == Some("{") => {
                    self.module.push(self.peek(1).unwrap_or_default().to_owned());
                    self.inline.push(true);
                    self.at += 3;
                }
                "{" => {
                    self.inline.push(false);
                    self.at += 1;
                }
                "}" => {
                    if self.inline.pop() == Some(true) {
                        self.module.pop();
                    }
                    self.at += 1;
                }
                "use" => {
                    self.at += 1;
                    self.tree(&[], true);
                }
                word if is_word(word) => self.tree(&[], false),
                _ => self.at += 1,
            }
        }
    }

    /// Reads one path, or one branch of a `use` tree that began with `prefix`.
    fn tree(&mut self, prefix: &[String], single_words_count: bool) {
        let mut path = prefix.to_vec();
        if path.is_empty() && self.peek(0) == Some("::") {
            self.at += 1;
        }
        let line = self.tokens.get(self.at).map_or(0, |token| token.line);
        loop {
            match self.peek(0) {
                Some("{") if !path.is_empty() || single_words_count => return self.group(&path),
                Some(word) if is_word(word) || word == "*" => path.push(word.to_owned()),
                _ => break,
            }
            self.at += 1;
            if self.peek(0) != Some("::") {
                break;
            }
            self.at += 1;
        }
        if self.peek(0) == Some("as") {
            self.at += 2;
        }
        if path.len() > 1 || single_words_count {
            self.record(line, &path);
        }
    }

    fn group(&mut self, prefix: &[String]) {
        self.at += 1;
        loop {
            match self.peek(0) {
                None => return,
                Some("}") => break,
                Some(",") => self.at += 1,
                Some(_) => {
                    let before = self.at;
                    self.tree(prefix, true);
                    // Not a tree after all: step over what cannot be read rather than stand still.
                    self.at = self.at.max(before + 1);
                }
            }
        }
        self.at += 1;
    }

    fn record(&mut self, line: usize, path: &[String]) {
        let mut absolute: Vec<String> = Vec::new();
        for (nth, segment) in path.iter().enumerate() {
            match segment.as_str() {
                "self" if nth > 0 => {}
                "crate" => absolute = vec!["crate".to_owned()],
                "self" => absolute = self.here(),
                "super" => {
                    if nth == 0 {
                        absolute = self.here();
                    }
                    if absolute.len() > 1 {
                        absolute.pop();
                    }
                }
                _ => absolute.push(segment.clone()),
            }
        }
        self.found.push(Named { line, path: absolute });
    }

    fn here(&self) -> Vec<String> {
        std::iter::once("crate".to_owned()).chain(self.module.iter().cloned()).collect()
    }

    fn peek(&self, ahead: usize) -> Option<&str> {
        self.tokens.get(self.at + ahead).map(|token| token.text.as_str())
    }
}

fn is_word(text: &str) -> bool {
    text.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Cuts source text into words and signs; `::` is one sign. Comments and literals are left out.
fn tokens(source: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut line = 1;
    let mut chars = source.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\n' => line += 1,
            '/' if chars.peek() == Some(&'/') => while chars.next_if(|c| *c != '\n').is_some() {},
            '/' if chars.peek() == Some(&'*') => skip_comment(&mut chars, &mut line),
            '"' => skip_string(&mut chars, &mut line),
            '\'' => skip_char(&mut chars),
            ':' if chars.next_if_eq(&':').is_some() => tokens.push(Token { line, text: "::".to_owned() }),
            c if c.is_alphanumeric() || c == '_' => {
                let mut text = c.to_string();
                while let Some(next) = chars.next_if(|c| c.is_alphanumeric() || *c == '_') {
                    text.push(next);
                }
                let raw = matches!(text.as_str(), "r" | "br" | "cr");
                match chars.peek() {
                    Some('"' | '#') if raw => skip_raw(&mut chars, &mut line),
                    _ => tokens.push(Token { line, text }),
                }
            }
            c if c.is_whitespace() => {}
            sign => tokens.push(Token { line, text: sign.to_string() }),
        }
    }
    tokens
}

fn skip_comment(chars: &mut Peekable<Chars<'_>>, line: &mut usize) {
    let mut depth = 1;
    chars.next();
    while depth > 0 {
        match chars.next() {
            None => return,
            Some('\n') => *line += 1,
            Some('*') if chars.next_if_eq(&'/').is_some() => depth -= 1,
            Some('/') if chars.next_if_eq(&'*').is_some() => depth += 1,
            Some(_) => {}
        }
    }
}

fn skip_string(chars: &mut Peekable<Chars<'_>>, line: &mut usize) {
    while let Some(c) = chars.next() {
        match c {
            '"' => return,
            '\n' => *line += 1,
            '\\' if chars.next() == Some('\n') => *line += 1,
            _ => {}
        }
    }
}

/// After `r`: `"..."`, `#"..."#`, or the name of a raw identifier.
fn skip_raw(chars: &mut Peekable<Chars<'_>>, line: &mut usize) {
    let mut hashes = 0;
    while chars.next_if_eq(&'#').is_some() {
        hashes += 1;
    }
    if chars.next_if_eq(&'"').is_none() {
        return;
    }
    while let Some(c) = chars.next() {
        if c == '\n' {
            *line += 1;
        }
        if c == '"' && (0..hashes).all(|_| chars.next_if_eq(&'#').is_some()) {
            return;
        }
    }
}

/// After `'`: the rest of a character literal. A lifetime is left to the caller, whom it does not disturb.
fn skip_char(chars: &mut Peekable<Chars<'_>>) {
    let mut ahead = chars.clone();
    match ahead.next() {
        Some('\\') => {
            ahead.next();
            while ahead.next().is_some_and(|c| c != '\'') {}
            *chars = ahead;
        }
        Some(_) if ahead.next() == Some('\'') => *chars = ahead,
        _ => {}
    }
}
