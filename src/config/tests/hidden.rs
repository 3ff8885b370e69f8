//! What a message says of a value that may hold a secret where none belongs, and what it does not say.

use tidecast_config::{Settings, Sources};

fn refusal(sources: &Sources) -> String {
    Settings::load(sources).expect_err("these settings have to be refused").to_string()
}

fn from_file(text: &str) -> String {
    refusal(&Sources { file: Some(("t.toml".into(), text.into())), ..Sources::default() })
}

fn from_variable(name: &str, value: &str) -> String {
    refusal(&Sources { environment: [(name.into(), value.into())].into(), ..Sources::default() })
}

fn from_command_line(text: &str) -> String {
    refusal(&Sources { overrides: vec![text.into()], ..Sources::default() })
}

const HOOK: &str = "https://hooks.slack.com/services/T/B/canary";

#[test]
fn json_that_breaks_off_is_told_by_its_place() {
    let broken = format!(r#"[{{"action":{{"url":"{HOOK}","type":"slack_notify"}},}}]"#);
    let column = broken.rfind('}').unwrap() + 1;
    let told = format!("found a text that is no JSON (line 1, column {column}: trailing comma)");
    for message in [
        from_variable("STREAMING_RULES", &broken),
        from_command_line(&format!("rules={broken}")),
        from_variable("STREAMING_KAFKA", &broken),
        from_variable("STREAMING_SERIES", &broken),
    ] {
        assert!(message.contains(&told) && !message.contains("canary"), "{message}");
    }
    let message = from_variable("STREAMING_KAFKA__BOOTSTRAP_SERVERS", "[\"u:canary@h:1\",\n]");
    assert!(
        message.contains("no JSON (line 2, column 1: trailing comma)") && !message.contains("canary"),
        "{message}"
    );
}

#[test]
fn a_text_in_the_place_of_a_table_or_a_list_is_not_quoted() {
    let rule = |action: &str| {
        format!(
            "[[rules]]\nname = \"r\"\nevent_type = \"*\"\ncondition = \"true\"\naction = {action}\nenabled = true\n"
        )
    };
    let no_name = "found a text that is no name of an action";
    let object = format!(r#"{{"type": "slack_notify", "url": "{HOOK}"}}"#);
    for (text, setting, found) in [
        (format!("rules = '[{object}]'"), "setting rules ", "found a text;"),
        (format!("rules = [\"{HOOK}\"]"), "rules[0]", "found a text;"),
        (format!("models = [\"{HOOK}\"]"), "models[0]", "found a text;"),
        (format!("kafka = \"{HOOK}\""), "setting kafka ", "found a text;"),
        (rule(&format!("\"{HOOK}\"")), "rules[0].action (t.toml:5)", no_name),
        (rule(&format!("'{object}'")), "rules[0].action ", no_name),
        (rule(&format!("[\"log\", \"{HOOK}\"]")), "rules[0].action[1]", no_name),
        (rule(&format!("{{ type = \"{HOOK}\" }}")), "rules[0].action.type", no_name),
        (
            rule(&format!("{{ type = \"chain\", actions = [\"{HOOK}\"] }}")),
            "rules[0].action.actions[0]",
            no_name,
        ),
        (
            format!(
                "[[models]]\nmodel_id = \"m\"\nmodel_type = \"ETS\"\nseries = \"by_source:a\"\nhistory = \"{HOOK}\""
            ),
            "models[0].history",
            "found a text;",
        ),
        (
            format!("[[models]]\nmodel_id = \"m\"\nmodel_type = \"ARIMA\"\norder = \"{HOOK}\""),
            "models[0].order",
            "found a text;",
        ),
        (
            format!("[[models]]\nmodel_id = \"m\"\nmodel_type = \"ETS\"\nmetadata = \"{HOOK}\""),
            "models[0].metadata",
            "found a text;",
        ),
    ] {
        let message = from_file(&text);
        assert!(message.contains(setting) && message.contains(found), "{text}: {message}");
        assert!(!message.contains("canary"), "{message}");
    }
    // JSON that is whole and something else is told as what it is.
    let message = from_variable("STREAMING_RULES", &format!("\"{HOOK}\""));
    assert!(message.contains("found a text; allowed: a list of tables"), "{message}");
    assert!(from_variable("STREAMING_RULES", &object).contains("found a table; "));
}

#[test]
fn logins_and_paths_of_addresses_are_left_out_of_what_is_quoted() {
    for (text, found) in [
        ("[app]\nhost = \"u:canary@h\"", "found an address with a user or password in it"),
        ("[smtp]\nhost = \"canary@h\"", "found an address with a user or password in it"),
        ("[smtp]\nhost = \"https://mail.example.com/canary\"", "\"https://mail.example.com/[REDACTED]\""),
        ("[app]\nport = \"u:canary@h\"", "found \"[REDACTED]\""),
        ("[topics]\nevents = \"https://u:ca/n@ary@h\"", "found \"[REDACTED]\""),
        ("[kafka]\nacks = \"kafka://broker:9092\"", "found \"kafka://broker:9092\""),
        ("[kafka]\nacks = \"see:canary https://h/\"", "found \"[REDACTED]\""),
        ("[kafka]\nbootstrap_servers = [\"https://h/canary\"]", "found \"https://h/[REDACTED]\""),
        ("[kafka]\nbootstrap_servers = [\"u:canary@h\", \"\"]", "found a list whose entry 2 is empty"),
        ("[kafka]\nbootstrap_servers = \"u:canary@h, 5,,\"", "found a list whose entry 3 is empty"),
        ("webhook_hosts = [\"u:canary@h\", 5]", "found a list whose entry 2 is 5"),
        ("allowed_origins = [\"https://u:canary@h\"]", "found \"[REDACTED]\""),
        ("allowed_origins = [\"https://h?token=canary\"]", "found \"https://h/[REDACTED]\""),
        ("roles = [\"https://h/canary\"]", "found \"https://h/[REDACTED]\""),
        ("[auth]\njwks_url = \"htps://h/canary\"", "found \"htps://h/[REDACTED]\""),
        ("[state]\nshared = \"https://h/canary\"", "found \"https://h/[REDACTED]\""),
        ("[state]\nshared = \"s3://bucket/x?token=canary\"", "found \"s3://bucket/[REDACTED]\""),
        ("[state]\nshared = \"file:///a folder\"", "found \"file:///a folder\""),
        ("[kafka]\n\"https://h/canary\" = 1", "setting kafka.https://h/[REDACTED] "),
        ("[[series]]\nname = \"a@b:c\"", "found \"a@b:c\""),
    ] {
        let message = from_file(text);
        assert!(message.contains(found), "{text}: {message} has no {found}");
        assert!(!message.contains("canary") && !message.contains("n@ary"), "{message}");
    }
}
