//! A page of HTML that needs nothing but itself.

use crate::svg::escape;

const STYLE: &str = "
body { font: 17px/1.55 system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif; color: #222; background: #fff;
  max-width: 62rem; margin: 2rem auto 4rem; padding: 0 1.2rem; }
h1 { font-size: 2.1rem; line-height: 1.2; margin-bottom: .3rem; }
h2 { font-size: 1.4rem; margin: 2.6rem 0 .6rem; padding-top: .6rem; border-top: 2px solid #eee; }
p, li { max-width: 48rem; }
.lead { font-size: 1.15rem; color: #444; }
.note { color: #555; font-size: .93rem; }
figure { margin: 1.2rem 0; }
figure svg { width: 100%; height: auto; display: block; }
figcaption { color: #555; font-size: .93rem; max-width: 48rem; margin-top: .4rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; margin: 1rem 0; }
th, td { padding: .28rem .6rem; text-align: right; white-space: nowrap; }
th { font-weight: 600; border-bottom: 1px solid #bbb; }
td.name, th.name { text-align: left; }
table.heat td { border: 2px solid #fff; padding: .28rem .5rem; }
table.plain td { border-bottom: 1px solid #e6e6e6; }
tr.first td { border-top: 5px solid #fff; }
details summary { cursor: pointer; font-weight: 600; }
code { font-family: ui-monospace, 'DejaVu Sans Mono', monospace; font-size: .92em; }
@media print { details { display: none; } }
";

/// A page in the making.
pub struct Page {
    title: String,
    body: String,
}

impl Page {
    pub fn new(title: &str) -> Page {
        Page { title: title.into(), body: format!("<h1>{}</h1>\n", escape(title)) }
    }

    pub fn heading(&mut self, text: &str) {
        self.body += &format!("<h2>{}</h2>\n", escape(text));
    }

    /// A paragraph of a class; the text may hold elements.
    pub fn paragraph(&mut self, class: &str, html: &str) {
        let class = if class.is_empty() { String::new() } else { format!(" class=\"{class}\"") };
        self.body += &format!("<p{class}>{html}</p>\n");
    }

    pub fn list(&mut self, items: &[String]) {
        self.body += "<ul>\n";
        for item in items {
            self.body += &format!("<li>{item}</li>\n");
        }
        self.body += "</ul>\n";
    }

    pub fn figure(&mut self, svg: &str, caption: &str) {
        self.body += &format!("<figure>\n{svg}<figcaption>{caption}</figcaption>\n</figure>\n");
    }

    pub fn raw(&mut self, html: &str) {
        self.body += html;
    }

    pub fn finish(self) -> String {
        let Page { title, body } = self;
        let title = escape(&title);
        format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\" />\n<meta name=\"viewport\" \
             content=\"width=device-width, initial-scale=1\" />\n<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n\
             <body>\n{body}</body>\n</html>\n"
        )
    }
}
