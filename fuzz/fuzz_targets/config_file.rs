//! Configurations: any text is read or refused with its problems; what was read is printed and read as the same.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| {
    let Ok(loaded) = config::parse(text, "fuzzed") else {
        return;
    };
    let printed = config::print(&loaded.config);
    match config::parse(&printed, "printed") {
        Ok(again) => assert!(again.config == loaded.config, "{printed}"),
        Err(problems) => panic!("{problems}\n{printed}"),
    }
});
