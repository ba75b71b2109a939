use super::*;

#[test]
fn what_every_loader_carries_is_taken() {
    for text in [
        "",
        "axion.mode=install console=ttyS1,115200n8",
        "axion.config=https://10.0.0.1/axion/${uuid}.toml#sha256=0a",
        "axion.config=http://10.0.0.1:8069/config.toml?serial=${serial}&mac=${mac}",
        "dyndbg=\"file a.c +p; file b.c +p\" \"x=a b\" y=$HOME$",
    ] {
        assert_eq!(check(text), Ok(()), "{text}");
    }
}

#[test]
fn what_some_loader_does_not_carry_is_refused_with_what_is_allowed() {
    let refused = |text: &str| check(text).unwrap_err().to_string();
    for (text, what) in [
        ("a=ü", "'ü' is not allowed"),
        ("a\nb", "'\\n' is not allowed"),
        ("a='b c'", "'\\'' is not allowed"),
        ("a=\\x20", "'\\\\' is not allowed"),
        (
            "axion.config=http://c/${hostname}.toml",
            "`${hostname}` is not filled in",
        ),
        ("a=${net0/mac} b", "`${net0/mac}` is not filled in"),
        ("a=${uuid b", "`${uuid` is not filled in"),
        ("quiet || reboot", "`||` is not allowed as a word"),
        ("a=\"x ; y\"", "`;` is not allowed as a word"),
        ("quiet #debug", "`#debug` is not allowed as a word"),
        ("quiet -- x", "`--` is not allowed"),
        ("initrd=other.cpio", "`initrd` is not allowed"),
        ("a=\"b c", "a double quote is allowed in pairs"),
        ("a=b\"c d\"e", "a double quote is allowed in pairs"),
    ] {
        let message = refused(text);
        assert!(message.contains(what), "{text}: {message}");
    }
    assert!(refused("${x}").contains("allowed are `${uuid}`, `${serial}` and `${mac}`"));
}

#[test]
fn ipxe_fills_in_what_init_would() {
    assert_eq!(
        for_ipxe("quiet axion.config=http://c/${uuid}/${serial}/${mac}.toml?$x"),
        "quiet axion.config=http://c/${uuid}/${serial:uristring}/${netX/mac:hexhyp}.toml?$x"
    );
}
