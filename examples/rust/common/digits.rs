//! The data file: one image a line, 64 pixels and the digit, as `data/README.md` describes.

use std::fmt;
use std::path::{Path, PathBuf};

/// Images in the data set. Another number means that the file is cut off, or another file.
pub const IMAGES: usize = 1797;
/// Pixels of an image.
pub const PIXELS: usize = 64;
/// Different digits.
pub const CLASSES: usize = 10;
/// The darkest pixel.
const DARKEST: u8 = 16;

/// Images and what they show.
#[derive(Debug)]
pub struct Digits {
    /// `[IMAGES, PIXELS]`, from −1 (paper) to 1 (ink).
    pub pixels: Vec<f32>,
    /// `[IMAGES]`, from 0 to 9.
    pub labels: Vec<i64>,
}

/// Why a data file cannot be used: where, and what is there.
#[derive(Debug, PartialEq)]
pub struct DataError {
    path: PathBuf,
    /// Counted from 1; 0 where the file could not be read at all.
    line: usize,
    detail: String,
}

impl fmt::Display for DataError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.path.display())?;
        if self.line > 0 {
            write!(f, "{}:", self.line)?;
        }
        write!(f, " {}", self.detail)
    }
}

/// Reads the data file at `path`.
pub fn load(path: &Path) -> Result<Digits, DataError> {
    let bytes = std::fs::read(path).map_err(|e| DataError {
        path: path.into(),
        line: 0,
        detail: format!("cannot be read: {e}"),
    })?;
    parse(&bytes).map_err(|(line, detail)| DataError { path: path.into(), line, detail })
}

/// The images in the text of a data file, or the line and what is wrong with it.
fn parse(bytes: &[u8]) -> Result<Digits, (usize, String)> {
    let text = std::str::from_utf8(bytes).map_err(|e| {
        let line = 1 + bytes[..e.valid_up_to()].iter().filter(|&&b| b == b'\n').count();
        (line, "is not text".to_string())
    })?;
    let mut digits = Digits { pixels: Vec::with_capacity(IMAGES * PIXELS), labels: Vec::with_capacity(IMAGES) };
    for (i, line) in text.lines().enumerate() {
        if i == IMAGES {
            return Err((i + 1, format!("goes on after {IMAGES} images")));
        }
        image(line, &mut digits).map_err(|detail| (i + 1, detail))?;
    }
    match digits.labels.len() {
        IMAGES => Ok(digits),
        n => Err((n + 1, format!("the file ends after {n} images, expected {IMAGES}: is it cut off?"))),
    }
}

/// Adds the image on `line`.
fn image(line: &str, digits: &mut Digits) -> Result<(), String> {
    let fields = line.split(',').count();
    if fields != PIXELS + 1 {
        return Err(format!("{fields} fields, expected {}: is the file cut off?", PIXELS + 1));
    }
    for (i, field) in line.split(',').enumerate() {
        let largest = if i < PIXELS { DARKEST } else { CLASSES as u8 - 1 };
        let value = field.trim().parse::<u8>().ok().filter(|&v| v <= largest).ok_or_else(|| {
            let what = if i < PIXELS { "pixel" } else { "digit" };
            format!("field {} is {field:?}, expected a {what} from 0 to {largest}", i + 1)
        })?;
        match i {
            PIXELS => digits.labels.push(value.into()),
            _ => digits.pixels.push(f32::from(value) / (f32::from(DARKEST) / 2.0) - 1.0),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shipped() -> String {
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/data/digits.csv")).unwrap()
    }

    /// The error of the shipped file with line `line` (from 1) replaced.
    fn replaced(line: usize, with: impl Fn(&str) -> String) -> (usize, String) {
        let text = shipped();
        let lines = text.lines().enumerate().map(|(i, l)| if i + 1 == line { with(l) } else { l.into() });
        parse(lines.collect::<Vec<String>>().join("\n").as_bytes()).unwrap_err()
    }

    #[test]
    fn the_shipped_file_loads() {
        let digits = parse(shipped().as_bytes()).unwrap();
        assert_eq!((digits.labels.len(), digits.pixels.len()), (IMAGES, IMAGES * PIXELS));
        // The first line: 0,0,5,13, … of a zero; the second is a one, the last an eight.
        assert_eq!(digits.pixels[..4], [-1.0, -1.0, 5.0 / 8.0 - 1.0, 13.0 / 8.0 - 1.0]);
        assert_eq!((digits.labels[0], digits.labels[1], digits.labels[IMAGES - 1]), (0, 1, 8));
        assert!(digits.pixels.iter().all(|p| (-1.0..=1.0).contains(p)) && digits.pixels.contains(&1.0));
    }

    #[test]
    fn line_ends_of_windows_load() {
        let digits = parse(shipped().replace('\n', "\r\n").as_bytes()).unwrap();
        assert_eq!(digits.labels.len(), IMAGES);
    }

    #[test]
    fn a_letter_is_named_with_its_line_and_field() {
        let (line, detail) = replaced(700, |l| l.replacen(',', ",x", 1));
        assert_eq!((line, &detail[..]), (700, "field 2 is \"x0\", expected a pixel from 0 to 16"));
    }

    #[test]
    fn values_out_of_range_are_named() {
        let (line, detail) = replaced(1, |l| l.replacen(",13,", ",17,", 1));
        assert_eq!((line, &detail[..]), (1, "field 4 is \"17\", expected a pixel from 0 to 16"));
        let (line, detail) = replaced(IMAGES, |l| format!("{}10", &l[..l.len() - 1]));
        assert_eq!((line, &detail[..]), (IMAGES, "field 65 is \"10\", expected a digit from 0 to 9"));
        assert!(replaced(2, |l| l.replacen('0', "-1", 1)).1.starts_with("field 1 is \"-1\""));
    }

    #[test]
    fn a_file_cut_off_anywhere_is_refused() {
        let text = shipped();
        // A cut that takes only the last line end takes no data; every other loses an image or a field.
        for end in [0, 1, 100, text.len() / 2, text.len() - 2, text.len() - 3] {
            let (line, detail) = parse(&text.as_bytes()[..end]).unwrap_err();
            let whole = text[..end].matches('\n').count();
            assert_eq!(line, whole + 1, "cut at {end}: {detail}");
        }
        let (line, detail) = parse(text.lines().next().unwrap().as_bytes()).unwrap_err();
        assert_eq!((line, &detail[..]), (2, "the file ends after 1 images, expected 1797: is it cut off?"));
    }

    #[test]
    fn lines_too_many_are_refused() {
        let text = shipped();
        let longer = format!("{text}{}\n", text.lines().next().unwrap());
        assert_eq!(parse(longer.as_bytes()).unwrap_err().0, IMAGES + 1);
        assert_eq!(replaced(9, |_| String::new()), (9, "1 fields, expected 65: is the file cut off?".into()));
    }

    #[test]
    fn bytes_that_are_no_text_are_named_with_their_line() {
        let mut bytes = shipped().into_bytes();
        let second = bytes.iter().position(|&b| b == b'\n').unwrap() + 1;
        bytes[second] = 0xff;
        assert_eq!(parse(&bytes).unwrap_err(), (2, "is not text".into()));
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = load(Path::new("no/such/file.csv")).unwrap_err().to_string();
        assert!(error.starts_with("no/such/file.csv: cannot be read: "), "{error}");
    }
}
