//! Numbers as people read them.

/// Ten to the power of `exponent`.
pub fn power(exponent: i32) -> String {
    match exponent {
        0 => "1".into(),
        1 => "10".into(),
        _ => format!("10{}", raised(exponent)),
    }
}

fn raised(exponent: i32) -> String {
    let digit = |c: char| match c {
        '-' => '⁻',
        '1' => '¹',
        '2' => '²',
        '3' => '³',
        c => char::from_u32('⁰' as u32 + c.to_digit(10).unwrap_or(0)).unwrap_or(c),
    };
    exponent.to_string().chars().map(digit).collect()
}

/// As few digits as tell the number.
pub fn short(x: f64) -> String {
    let text = format!("{x:.3}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    text.replace('-', "−")
}

/// Two or three digits, with a power of ten where it is far from 1.
pub fn number(x: f64) -> String {
    if x.is_nan() {
        return "NaN".into();
    }
    if x == 0.0 || !x.is_finite() {
        return if x == 0.0 { "0".into() } else { "∞".into() };
    }
    let exponent = x.abs().log10().floor() as i32;
    match exponent {
        3.. | ..=-3 => {
            let mantissa = format!("{:.1}", x / 10f64.powi(exponent));
            match &mantissa[..] {
                "1.0" => power(exponent),
                "10.0" => power(exponent + 1),
                m => format!("{m}·10{}", raised(exponent)),
            }
        }
        1 | 2 => format!("{x:.0}"),
        _ => format!("{x:.2}"),
    }
}

pub fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}
