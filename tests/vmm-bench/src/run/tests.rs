use super::*;

#[test]
fn the_guests_memory_does_not_count() {
    let smaps = "\
55d0c0000000-55d0c0100000 r-xp 00000000 08:01 123 /usr/bin/vmm
Size:               1024 kB
Rss:                 512 kB
Anonymous:             0 kB
VmFlags: rd ex mr mw me
7f0000000000-7f0008000000 rw-p 00000000 00:00 0
Size:             131072 kB
Rss:               60000 kB
Anonymous:         60000 kB
7f0010000000-7f0014000000 ---p 00000000 00:00 0
Size:              65536 kB
Rss:                   0 kB
Anonymous:             0 kB
7ffd00000000-7ffd00021000 rw-p 00000000 00:00 0 [stack]
Size:                132 kB
Rss:                  20 kB
Anonymous:            20 kB
";
    let expected = Overhead {
        resident: 532 << 10,
        anonymous: 20 << 10,
    };
    assert_eq!(overhead(smaps), expected);
}
