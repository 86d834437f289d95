//! The one door through which values get into a shell's text.

use std::process::Command;

use proptest::prelude::*;
use ship::script::quote;

proptest! {
    #[test]
    fn shell_reads_quoted_text_unchanged(text in any::<String>().prop_map(|text| text.replace('\0', ""))) {
        let output = Command::new("/bin/sh").arg("-c").arg(format!("printf %s {}", quote(&text))).output().expect("sh");
        prop_assert_eq!(String::from_utf8_lossy(&output.stdout), text);
        prop_assert!(output.stderr.is_empty());
    }

    #[test]
    fn signs_of_the_shell_mean_nothing_when_quoted(text in "['\"\\\\$`!*?~#&|;<>(){}\\[\\]\n\t \
                                                            =%^-]{0,20}") {
        // Twice: as an argument within a command line that is quoted itself, as it travels over
        // SSH.
        let inner = format!("printf %s {}", quote(&text));
        let outer = format!("exec /bin/sh -c {}", quote(&inner));
        let output = Command::new("/bin/sh").arg("-c").arg(outer).output().expect("sh");
        prop_assert_eq!(String::from_utf8_lossy(&output.stdout), text);
    }
}
