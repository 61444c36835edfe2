//! The style that output asks for by SGR sequences: the sixteen named colours, which the reader's own theme decides, bold,
//! underlined and reversed.

/// One of the named colours, and whether it is the bright one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Color(u8);

impl Color {
    /// By its number in SGR: 0 to 7, and 8 to 15 for the bright ones.
    pub fn new(number: u8) -> Option<Color> {
        (number < 16).then_some(Color(number))
    }

    /// Its number, 0 to 15.
    pub fn number(self) -> u8 {
        self.0
    }

    /// Its name, as a class of a page is named.
    pub fn name(self) -> &'static str {
        const NAMES: [&str; 16] = [
            "black",
            "red",
            "green",
            "yellow",
            "blue",
            "magenta",
            "cyan",
            "white",
            "bright-black",
            "bright-red",
            "bright-green",
            "bright-yellow",
            "bright-blue",
            "bright-magenta",
            "bright-cyan",
            "bright-white",
        ];
        NAMES[usize::from(self.0 % 16)]
    }
}

/// A style of text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Style {
    pub color: Option<Color>,
    pub background: Option<Color>,
    pub bold: bool,
    pub underline: bool,
    pub reverse: bool,
}

impl Style {
    /// The same without a background that would hide the text.
    pub fn readable(self) -> Style {
        let hides = self.background.is_some() && self.background == self.color;
        Style { background: self.background.filter(|_| !hides), ..self }
    }

    /// Takes the parameters of one SGR sequence. Unknown ones change nothing; concealed text stays visible.
    pub fn take<'p>(&mut self, mut params: impl Iterator<Item = &'p [u16]>) {
        while let Some(param) = params.next() {
            match *param {
                [] | [0] => *self = Style::default(),
                [1] => self.bold = true,
                [4] => self.underline = true,
                [4, kind] => self.underline = kind != 0,
                [7] => self.reverse = true,
                [22] => self.bold = false,
                [24] => self.underline = false,
                [27] => self.reverse = false,
                [number @ (30..=37 | 90..=97)] => self.color = named(number),
                [number @ (40..=47 | 100..=107)] => self.background = named(number - 10),
                [38] => self.color = indexed(&mut params),
                [48] => self.background = indexed(&mut params),
                [38, 5, number] => self.color = first_sixteen(number),
                [48, 5, number] => self.background = first_sixteen(number),
                [38, ..] => self.color = None,
                [48, ..] => self.background = None,
                [39] => self.color = None,
                [49] => self.background = None,
                _ => {}
            }
        }
    }
}

fn named(number: u16) -> Option<Color> {
    first_sixteen(if number >= 90 { number - 90 + 8 } else { number - 30 })
}

fn first_sixteen(number: u16) -> Option<Color> {
    u8::try_from(number).ok().and_then(Color::new)
}

/// The colour behind `38` or `48`: one of 256, or three parts. Others than the named ones are the default colour.
fn indexed<'p>(params: &mut impl Iterator<Item = &'p [u16]>) -> Option<Color> {
    let mut next = || params.next().and_then(|param| param.first().copied());
    match next()? {
        5 => first_sixteen(next()?),
        2 => {
            (0..3).for_each(|_| _ = next());
            None
        }
        _ => None,
    }
}
