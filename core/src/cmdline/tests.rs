//! The kernel's rules by example, and round trips by property.

use proptest::prelude::*;

use super::*;

#[test]
fn splits_as_the_kernel_does() {
    let line = CommandLine::parse(
        "  ro console=ttyS0,115200 \t dyndbg=\"file a.c +p\" \"note=two words\" a==b x= \n",
    );
    let seen: Vec<_> = line.iter().map(|p| (p.key(), p.value())).collect();
    assert_eq!(
        seen,
        [
            ("ro", None),
            ("console", Some("ttyS0,115200")),
            ("dyndbg", Some("file a.c +p")),
            ("note", Some("two words")),
            ("a", Some("=b")),
            ("x", Some("")),
        ]
    );
    assert_eq!(
        line.to_string(),
        "ro console=ttyS0,115200 dyndbg=\"file a.c +p\" \"note=two words\" a==b x="
    );
}

#[test]
fn last_wins_and_order_stays() {
    let line = CommandLine::parse("console=tty1 axion.log=ttyS1 console=ttyS0 quiet");
    assert_eq!(line.get("console"), Some("ttyS0"));
    assert_eq!(line.all("console").collect::<Vec<_>>(), ["tty1", "ttyS0"]);
    assert_eq!(line.get("quiet"), Some(""));
    assert_eq!(line.get("loud"), None);
    assert!(line.contains("quiet") && !line.contains("loud"));
}

#[test]
fn hyphen_and_underscore_are_the_same() {
    let line = CommandLine::parse("intel-iommu=on");
    assert_eq!(line.get("intel_iommu"), Some("on"));
}

#[test]
fn what_follows_two_hyphens_is_for_init() {
    let mut line = CommandLine::parse("ro -- --stage2 x=1");
    assert_eq!(line.init_arguments(), Some("--stage2 x=1"));
    assert_eq!(line.get("x"), None);
    line.extend([Param::new("quiet", None).unwrap()]);
    assert_eq!(line.to_string(), "ro quiet -- --stage2 x=1");
}

#[test]
fn hugepage_sizes_bind_to_the_count_that_follows() {
    let text = "hugepagesz=1G hugepages=0:1,1:2 hugepagesz=2M hugepages=64 hugepages=7";
    let line = CommandLine::parse(text);
    let pools = line.hugepage_pools();
    assert_eq!(
        pools,
        [
            HugepagePool {
                page_size: Some(1 << 30),
                pages: Pages::PerNode(vec![(0, 1), (1, 2)])
            },
            HugepagePool {
                page_size: Some(2 << 20),
                pages: Pages::Total(64)
            },
            HugepagePool {
                page_size: None,
                pages: Pages::Total(7)
            },
        ]
    );
    let mut again = CommandLine::default();
    pools.iter().for_each(|pool| again.extend(pool.params().unwrap()));
    assert_eq!(again.to_string(), text);
}

#[test]
fn a_count_that_is_none_stays_a_plain_parameter() {
    let line = CommandLine::parse("hugepagesz=1G hugepages=many");
    assert!(
        line.groups()
            .iter()
            .all(|group| matches!(group, Group::Single(_)))
    );
}

#[test]
fn what_cannot_be_written_is_refused() {
    let message = |key, value| Param::new(key, value).unwrap_err().to_string();
    assert_eq!(
        message("a b", None),
        "`a b` is not a parameter name; it must not be empty, nor hold white space, quotes or `=`"
    );
    assert_eq!(
        message("a", Some("say \"x\"")),
        "the value of kernel parameter `a` holds a double quote, which the kernel command line has no escape for"
    );
}

proptest! {
    #[test]
    fn any_text_is_read_and_given_back(text in "[ \t\n\"=a-z_.,:0-9-]{0,80}") {
        let line = CommandLine::parse(&text);
        let again = CommandLine::parse(&line.to_string());
        prop_assert_eq!(&again, &line);
        prop_assert_eq!(again.to_string(), line.to_string());
    }

    #[test]
    fn what_is_written_is_read(
        params in prop::collection::vec(("[a-z][a-z0-9._-]{0,12}", prop::option::of("[ a-zA-Z0-9=:/,._-]{0,20}")), 0..10)
    ) {
        let mut line = CommandLine::default();
        line.extend(params.iter().map(|(key, value)| Param::new(key, value.as_deref()).unwrap()));
        let read = CommandLine::parse(&line.to_string());
        let seen: Vec<_> = read.iter().map(|p| (p.key().to_owned(), p.value().map(str::to_owned))).collect();
        prop_assert_eq!(seen, params);
    }

    #[test]
    fn groups_lose_no_parameter(text in "((hugepagesz=[12][MG]|hugepages=[0-9]|hugepages=0:1,1:2|quiet|a=b) ){0,12}") {
        let line = CommandLine::parse(&text);
        let (mut singles, mut pools) = (0, 0);
        for group in line.groups() {
            match group {
                Group::Single(_) => singles += 1,
                Group::Hugepages(_) => pools += 1,
            }
        }
        prop_assert_eq!(singles + pools, line.iter().count());
        prop_assert_eq!(pools, line.all("hugepages").count());
    }
}

#[test]
fn machine_configs_are_hidden_wherever_a_command_line_is() {
    let table = [
        (
            "quiet axion.config=inline:c2VjcmV0 ro",
            "quiet axion.config=(hidden) ro",
        ),
        (
            "x: axion.config=https://u:p@h/c?k=s axion.config=file:/a",
            "x: axion.config=(hidden) axion.config=(hidden)",
        ),
        (
            r#"axion.config="https://h/a b" ro"#,
            r#"axion.config=(hidden)" ro"#,
        ),
        (
            r#""axion.config=https://h/a b" ro"#,
            r#""axion.config=(hidden)" ro"#,
        ),
        // Cut off.
        (r#"axion.config="https://h/a b"#, "axion.config=(hidden)"),
        // It is spoken of.
        (
            "axion.config= on the kernel command line (inline)",
            "axion.config= on the kernel command line (inline)",
        ),
        (
            "give it by `axion.config=`, or not",
            "give it by `axion.config=`, or not",
        ),
        ("nothing", "nothing"),
    ];
    for (text, shown) in table {
        assert_eq!(hide_configs(text), shown);
        assert_eq!(hide_configs(shown), shown);
    }
}
