//! One cut-out element to a tree, with the namespaces of the stream it was cut from.
//!
//! quick-xml finds names, attributes and text; what it leaves unchecked is checked here: characters, names, entities,
//! prefixes, attributes that are the same once prefixes are resolved, `]]>` in text.

use minidom::Element;
use minidom::rxml::{Namespace, NcName};
use quick_xml::XmlVersion;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesRef, BytesStart, Event};
use quick_xml::name::{Namespace as NamespaceName, NamespaceResolver, PrefixDeclaration, ResolveResult};
use quick_xml::reader::NsReader;

use super::{FramingError, Limits};

/// Namespace declarations that may be in force at one place. Real streams use a handful.
const MAX_BINDINGS: usize = 64;

/// What elements inherit from the stream header.
#[derive(Debug, Default)]
pub(super) struct Bindings {
    /// The header's name as written, prefix included.
    tag: String,
    /// Prefix (none for the default namespace) and namespace.
    declared: Vec<(Option<String>, String)>,
}

impl Bindings {
    /// Checks that `tag`, from `</` to `>`, closes the stream.
    pub(super) fn check_end(&self, tag: &str) -> Result<(), FramingError> {
        let name = tag.strip_prefix("</").and_then(|rest| rest.strip_suffix('>')).unwrap_or_default();
        if name.trim_end_matches([' ', '\t', '\r', '\n']) == self.tag {
            Ok(())
        } else {
            Err(FramingError::NotWellFormed("an end tag without its start tag"))
        }
    }

    fn collect(start: &BytesStart<'_>) -> Result<Self, FramingError> {
        let mut declared = Vec::new();
        for attribute in start.attributes() {
            let attribute = attribute.map_err(|_| BAD_ATTRIBUTE)?;
            let prefix = match attribute.key.as_namespace_binding() {
                None => continue,
                Some(PrefixDeclaration::Default) => None,
                Some(PrefixDeclaration::Named(prefix)) => Some(prefix.to_owned()),
            };
            declared.push((prefix, attribute_value(&attribute)?));
        }
        Ok(Self { tag: start.name().0.to_owned(), declared })
    }

    fn apply(&self, resolver: &mut NamespaceResolver) -> Result<(), FramingError> {
        resolver.set_max_namespace_bindings(MAX_BINDINGS);
        for (prefix, namespace) in &self.declared {
            let prefix = prefix.as_deref().map_or(PrefixDeclaration::Default, PrefixDeclaration::Named);
            resolver.add(prefix, NamespaceName(namespace)).map_err(|_| BAD_DECLARATION)?;
        }
        Ok(())
    }
}

/// Checks `<?xml ... ?>`: version 1.0, and no encoding but UTF-8 (RFC 6120 section 11.6).
pub(super) fn check_declaration(text: &str) -> Result<(), FramingError> {
    check_chars(text)?;
    let Ok(Event::Decl(declaration)) = NsReader::from_str(text).read_event() else {
        return Err(FramingError::Restricted("processing instruction"));
    };
    if declaration.version().ok().as_deref() != Some("1.0") {
        return Err(FramingError::NotWellFormed("not XML 1.0"));
    }
    match declaration.encoding() {
        None => Ok(()),
        Some(Ok(name)) if name.eq_ignore_ascii_case("utf-8") => Ok(()),
        Some(_) => Err(FramingError::NotUtf8),
    }
}

/// Parses the opening tag of a stream.
pub(super) fn parse_header(text: &str, limits: &Limits) -> Result<(Element, Bindings), FramingError> {
    check_chars(text)?;
    let mut reader = NsReader::from_str(text);
    reader.resolver_mut().set_max_namespace_bindings(MAX_BINDINGS);
    let event = reader.read_event().map_err(broken)?;
    let Event::Start(start) = event else { return Err(FramingError::NotWellFormed("no stream header")) };
    let header = Tree::new(limits).open(&start, reader.resolver())?;
    Ok((header, Bindings::collect(&start)?))
}

/// Parses `text`, which must be exactly one element, in the scope of the stream header.
pub(super) fn parse(text: &str, bindings: &Bindings, limits: &Limits) -> Result<Element, FramingError> {
    check_chars(text)?;
    let mut reader = NsReader::from_str(text);
    reader.config_mut().expand_empty_elements = true;
    bindings.apply(reader.resolver_mut())?;
    let mut tree = Tree::new(limits);
    loop {
        match reader.read_event().map_err(broken)? {
            Event::Start(start) => {
                tree.flush_text()?;
                let element = tree.open(&start, reader.resolver())?;
                if tree.root.is_some() {
                    return Err(FramingError::NotWellFormed("more than one element"));
                }
                tree.open.push(element);
            }
            Event::End(_) => tree.close()?,
            Event::Text(text) => {
                if text.contains("]]>") {
                    return Err(FramingError::NotWellFormed("']]>' in text"));
                }
                tree.text.push_str(&text.xml10_content());
            }
            Event::CData(text) => tree.text.push_str(&text.xml10_content()),
            Event::GeneralRef(reference) => resolve_reference(&reference, &mut tree.text)?,
            Event::Eof => return tree.root.ok_or(FramingError::NotWellFormed("an element that does not end")),
            Event::Comment(_) => return Err(FramingError::Restricted("comment")),
            Event::PI(_) | Event::Decl(_) => return Err(FramingError::Restricted("processing instruction")),
            Event::DocType(_) => return Err(FramingError::Restricted("document type definition")),
            Event::Empty(_) => return Err(FramingError::NotWellFormed("an unexpected empty element")),
        }
    }
}

const BAD_ATTRIBUTE: FramingError = FramingError::NotWellFormed("a broken or repeated attribute");
const BAD_DECLARATION: FramingError = FramingError::Namespace("a declaration that is not allowed");

/// The elements that are open, and what has been counted.
struct Tree<'l> {
    limits: &'l Limits,
    open: Vec<Element>,
    text: String,
    nodes: usize,
    root: Option<Element>,
}

impl<'l> Tree<'l> {
    fn new(limits: &'l Limits) -> Self {
        Self { limits, open: Vec::new(), text: String::new(), nodes: 0, root: None }
    }

    /// Makes the element of a start tag, without its content.
    fn open(&mut self, start: &BytesStart<'_>, resolver: &NamespaceResolver) -> Result<Element, FramingError> {
        self.count_node()?;
        let (namespace, name) = resolver.resolve_element(start.name());
        let namespace = resolved(&namespace)?;
        let name = NcName::try_from(name.as_ref()).map_err(|_| FramingError::NotWellFormed("a bad element name"))?;
        let mut element = Element::bare(name.as_str(), namespace);
        for (index, attribute) in start.attributes().enumerate() {
            if index >= self.limits.attributes {
                return Err(FramingError::TooManyAttributes { limit: self.limits.attributes });
            }
            self.count_node()?;
            let attribute = attribute.map_err(|_| BAD_ATTRIBUTE)?;
            let value = attribute_value(&attribute)?;
            match attribute.key.as_namespace_binding() {
                Some(PrefixDeclaration::Named(_)) if value.is_empty() => return Err(BAD_DECLARATION),
                Some(_) => continue,
                None => {}
            }
            let (namespace, name) = resolver.resolve_attribute(attribute.key);
            let namespace = Namespace::from(resolved(&namespace)?.to_owned());
            let name = NcName::try_from(name.as_ref()).map_err(|_| BAD_ATTRIBUTE)?;
            if element.attrs_mut().insert(namespace, name, value).is_some() {
                return Err(BAD_ATTRIBUTE);
            }
        }
        Ok(element)
    }

    fn close(&mut self) -> Result<(), FramingError> {
        self.flush_text()?;
        let element = self.open.pop().ok_or(FramingError::NotWellFormed("an end tag without its start tag"))?;
        match self.open.last_mut() {
            Some(parent) => {
                parent.append_child(element);
            }
            None => self.root = Some(element),
        }
        Ok(())
    }

    fn flush_text(&mut self) -> Result<(), FramingError> {
        if self.text.is_empty() {
            return Ok(());
        }
        self.count_node()?;
        let text = std::mem::take(&mut self.text);
        let parent = self.open.last_mut().ok_or(FramingError::NotWellFormed("text outside of an element"))?;
        parent.append_text_node(text);
        Ok(())
    }

    fn count_node(&mut self) -> Result<(), FramingError> {
        self.nodes += 1;
        if self.nodes > self.limits.nodes {
            return Err(FramingError::TooManyNodes { limit: self.limits.nodes });
        }
        Ok(())
    }
}

fn resolved<'n>(result: &ResolveResult<'n>) -> Result<&'n str, FramingError> {
    match result {
        ResolveResult::Bound(namespace) => Ok(namespace.0),
        ResolveResult::Unbound => Ok(""),
        ResolveResult::Unknown(_) => Err(FramingError::Namespace("an undeclared prefix")),
    }
}

fn attribute_value(attribute: &quick_xml::events::attributes::Attribute<'_>) -> Result<String, FramingError> {
    let value = attribute.normalized_value(XmlVersion::Explicit1_0).map_err(broken)?;
    check_chars(&value)?;
    Ok(value.into_owned())
}

fn resolve_reference(reference: &BytesRef<'_>, text: &mut String) -> Result<(), FramingError> {
    match reference.resolve_char_ref().map_err(broken)? {
        Some(character) if is_xml_char(character) => text.push(character),
        Some(character) => return Err(FramingError::IllegalChar(character.into())),
        None => text.push_str(resolve_predefined_entity(reference).ok_or(FramingError::Restricted("entity"))?),
    }
    Ok(())
}

/// quick-xml's errors quote the input, which may be a secret or a megabyte; the kind of error is enough.
fn broken(error: quick_xml::Error) -> FramingError {
    use quick_xml::Error;
    use quick_xml::escape::EscapeError;
    match error {
        Error::Escape(EscapeError::UnrecognizedEntity(..)) => FramingError::Restricted("entity"),
        Error::Escape(_) => FramingError::NotWellFormed("a bad reference"),
        Error::Encoding(_) => FramingError::NotUtf8,
        Error::Namespace(_) => BAD_DECLARATION,
        Error::InvalidAttr(_) => BAD_ATTRIBUTE,
        Error::IllFormed(_) => FramingError::NotWellFormed("start and end tags do not match"),
        Error::Io(_) | Error::Syntax(_) => FramingError::NotWellFormed("broken markup"),
    }
}

fn check_chars(text: &str) -> Result<(), FramingError> {
    match text.chars().find(|&character| !is_xml_char(character)) {
        None => Ok(()),
        Some(character) => Err(FramingError::IllegalChar(character.into())),
    }
}

/// The production `Char` of XML 1.0; surrogates cannot occur in a `char`.
const fn is_xml_char(character: char) -> bool {
    matches!(character, '\t' | '\n' | '\r' | ' '..='\u{FFFD}' | '\u{10000}'..)
}
