//! What a page of markup must be.

/// Every element is closed where it should be, every attribute is quoted, every `&` begins an entity.
pub fn well_formed(text: &str) {
    let mut open: Vec<&str> = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('<') {
        entities(&rest[..at]);
        let end = at + rest[at..].find('>').expect("a tag ends");
        let tag = &rest[at + 1..end];
        rest = &rest[end + 1..];
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name), "before {:.60}", rest);
            continue;
        }
        let (tag, closed) = tag.strip_suffix('/').map_or((tag, false), |t| (t, true));
        let (name, attributes) = tag.split_once(char::is_whitespace).unwrap_or((tag, ""));
        assert!(name.chars().all(|c| c.is_ascii_alphanumeric()) && !name.is_empty(), "<{tag}>");
        quoted(attributes);
        if !closed {
            open.push(name);
        }
    }
    entities(rest);
    assert!(open.is_empty(), "{open:?} are not closed");
}

/// name="value" and white space, no name twice.
fn quoted(attributes: &str) {
    let mut names = Vec::new();
    let mut rest = attributes.trim();
    while !rest.is_empty() {
        let (name, value) = rest.split_once("=\"").unwrap_or_else(|| panic!("{attributes}"));
        assert!(name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-'), "{attributes}");
        let (value, after) = value.split_once('"').unwrap_or_else(|| panic!("{attributes}"));
        entities(value);
        assert!(!names.contains(&name), "{attributes}");
        names.push(name);
        rest = after.trim_start();
    }
}

fn entities(text: &str) {
    for (at, _) in text.match_indices('&') {
        let entity = &text[at..];
        assert!(["&amp;", "&lt;", "&gt;", "&quot;"].iter().any(|e| entity.starts_with(e)), "{entity:.20}");
    }
}

/// No script, and nothing that a browser would fetch. The namespace of SVG is a name, not an address.
pub fn self_contained(text: &str) {
    let text = text.replace("xmlns=\"http://www.w3.org/2000/svg\"", "");
    for word in ["http:", "https:", "//", "src=", "href=", "<script", "<link", "<iframe", "@import", "url(", "file:"] {
        assert!(!text.contains(word), "{word}");
    }
}
