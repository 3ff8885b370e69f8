//! Commands that end by themselves, as a shell sees them: a status, standard output and standard error.

use crate::process::binary;
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Stdio};

/// Monthly airline passengers in thousands, 1949 to 1960 (Box and Jenkins 1970, series G).
pub const AIR: [u32; 144] = [
    112, 118, 132, 129, 121, 135, 148, 148, 136, 119, 104, 118, 115, 126, 141, 135, 125, 149, 170, 170, 158,
    133, 114, 140, 145, 150, 178, 163, 172, 178, 199, 199, 184, 162, 146, 166, 171, 180, 193, 181, 183, 218,
    230, 242, 209, 191, 172, 194, 196, 196, 236, 235, 229, 243, 264, 272, 237, 211, 180, 201, 204, 188, 235,
    227, 234, 264, 302, 293, 259, 229, 203, 229, 242, 233, 267, 269, 270, 315, 364, 347, 312, 274, 237, 278,
    284, 277, 317, 313, 318, 374, 413, 405, 355, 306, 271, 306, 315, 301, 356, 348, 355, 422, 465, 467, 404,
    347, 305, 336, 340, 318, 362, 348, 363, 435, 491, 505, 404, 359, 310, 337, 360, 342, 406, 396, 420, 472,
    548, 559, 463, 407, 362, 405, 417, 391, 419, 461, 472, 535, 622, 606, 508, 461, 390, 432,
];

/// How a command ended and what it said.
pub struct Ended {
    /// The exit status.
    pub code: Option<i32>,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Ended {
    /// Standard output, when it ended well and said nothing else.
    pub fn well(&self) -> &str {
        assert_eq!((self.code, self.err.as_str()), (Some(0), ""), "{}", self.out);
        &self.out
    }

    /// One object a line.
    pub fn objects(&self) -> Vec<Value> {
        self.out
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
            .collect()
    }

    /// The one line on standard error of a command that failed with that status.
    pub fn refused(&self, code: i32) -> &str {
        assert_eq!(self.code, Some(code), "{}{}", self.out, self.err);
        assert!(!self.err.contains("panicked"), "{}", self.err);
        if code == 1 {
            assert_eq!(self.err.lines().count(), 1, "one line: {}", self.err);
        }
        &self.err
    }
}

/// Runs the command in a folder that holds `file` alone, under a name.
pub fn on(name: &str, file: &[u8], arguments: &[&str]) -> Ended {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(name), file).unwrap();
    in_folder(folder.path(), arguments)
}

/// Runs the command in a folder, with nothing in its environment and nothing to read on standard input.
pub fn in_folder(folder: &Path, arguments: &[&str]) -> Ended {
    let mut command = Command::new(binary());
    let output =
        command.args(arguments).current_dir(folder).env_clear().stdin(Stdio::null()).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ended { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

/// AirPassengers in one column, without a header.
pub fn air() -> Vec<u8> {
    AIR.map(|v| v.to_string()).join("\n").into_bytes()
}

/// AirPassengers in the long form, one month a row.
pub fn long(id: &str) -> Vec<String> {
    let row = |i: usize| format!("{id},{}-{:02}-01,{}", 1949 + i / 12, i % 12 + 1, AIR[i]);
    (0..AIR.len()).map(row).collect()
}

/// Rows of the long form as a file.
pub fn with_header(rows: &[String]) -> Vec<u8> {
    format!("unique_id,ds,y\n{}\n", rows.join("\n")).into_bytes()
}
