//! A picture of the main figures: a bar per subject and case, as SVG.
//!
//! Within a case bars are to scale; between cases they are not, because a request of 1 MiB would leave nothing to see of
//! the others. The numbers stand beside them.

use std::fmt::Write;

use crate::subject::Subject;

/// Pixels.
const WIDTH: u32 = 860;
const LABELS: u32 = 300;
const BARS: u32 = 460;
const BAR: u32 = 11;
const GAP: u32 = 12;
const HEAD: u32 = 64;

/// The bars of one case.
pub(crate) struct Group {
    pub(crate) title: &'static str,
    pub(crate) bars: Vec<Bar>,
}

/// One subject's figure.
pub(crate) struct Bar {
    pub(crate) subject: Subject,
    pub(crate) value: f64,
    /// Nothing should be concluded from it.
    pub(crate) is_noisy: bool,
}

/// Draws it; `caption` says where and when.
pub(crate) fn draw(groups: &[Group], subjects: &[Subject], caption: &str) -> String {
    let bars: usize = groups.iter().map(|group| group.bars.len()).sum();
    let height = HEAD + BAR * small(bars) + GAP * small(groups.len()) + 8;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"11\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
         <text x=\"8\" y=\"18\" font-size=\"14\">CPU µs per request (shorter is better; to scale within a case)</text>\n\
         <text x=\"8\" y=\"34\" fill=\"#666\">{}</text>\n",
        escape(caption)
    );
    let mut x = 8;
    for &subject in subjects {
        // Writing into a String does not fail.
        _ = writeln!(
            svg,
            "<rect x=\"{x}\" y=\"43\" width=\"10\" height=\"10\" fill=\"{}\"/><text x=\"{}\" y=\"52\">{}</text>",
            colour(subject),
            x + 14,
            subject.name()
        );
        x += 34 + 7 * small(subject.name().len());
    }
    let mut y = HEAD;
    for group in groups {
        draw_group(&mut svg, group, y);
        y += BAR * small(group.bars.len()) + GAP;
    }
    svg + "</svg>\n"
}

fn draw_group(svg: &mut String, group: &Group, mut y: u32) {
    let most = group.bars.iter().map(|bar| bar.value).fold(0.0, f64::max).max(1e-9);
    _ = writeln!(
        svg,
        "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>",
        LABELS - 8,
        y + BAR - 2,
        escape(group.title)
    );
    for bar in &group.bars {
        let width = f64::from(BARS) * bar.value / most;
        let (noisy, opacity) = if bar.is_noisy { ("~", "0.55") } else { ("", "1") };
        _ = writeln!(
            svg,
            "<rect x=\"{LABELS}\" y=\"{y}\" width=\"{width:.1}\" height=\"{}\" fill=\"{}\" fill-opacity=\"{opacity}\">\
             <title>{}</title></rect><text x=\"{:.1}\" y=\"{}\" font-size=\"9\">{noisy}{:.1}</text>",
            BAR - 2,
            colour(bar.subject),
            bar.subject.name(),
            f64::from(LABELS) + width + 4.0,
            y + BAR - 3,
            bar.value,
        );
        y += BAR;
    }
}

/// Told apart by the colour-blind too (Okabe and Ito).
fn colour(subject: Subject) -> &'static str {
    match subject {
        Subject::Tidegate => "#0072b2",
        Subject::Nginx => "#009e73",
        Subject::Haproxy => "#e69f00",
        Subject::Varnish => "#cc79a7",
        Subject::TrafficServer => "#d55e00",
        Subject::Floor => "#999999",
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

fn small(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_to_scale_within_a_case() {
        let bar = |subject, value, is_noisy| Bar {
            subject,
            value,
            is_noisy,
        };
        let groups = [
            Group {
                title: "a < b",
                bars: vec![bar(Subject::Tidegate, 5.0, false), bar(Subject::Nginx, 10.0, true)],
            },
            Group {
                title: "large",
                bars: vec![bar(Subject::Tidegate, 500.0, false)],
            },
        ];
        let svg = draw(&groups, &[Subject::Tidegate, Subject::Nginx], "R&D");
        let widths: Vec<&str> = svg
            .split("width=\"")
            .skip(1)
            .filter_map(|rest| rest.split_once("\" height=\"9\""))
            .filter_map(|(width, _)| (width.len() < 8).then_some(width))
            .collect();
        assert_eq!(widths, ["230.0", "460.0", "460.0"]);
        for part in ["a &lt; b", "R&amp;D", ">~10.0<", ">5.0<", "</svg>"] {
            assert!(svg.contains(part), "{part}\n{svg}");
        }
    }
}
