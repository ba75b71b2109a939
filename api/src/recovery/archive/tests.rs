use super::*;

#[test]
fn what_is_written_is_read() {
    let long = "d".repeat(120);
    let parts: [(&str, &str, &[u8]); 3] = [
        ("bundle", "manifest.json", b"{}"),
        (&long, "proc/empty", b""),
        ("", "block", &[7; 512]),
    ];
    let mut archive: Vec<u8> = Vec::new();
    for (directory, name, content) in parts {
        archive.extend(entry(directory, name, content, 1_700_000_000));
    }
    archive.extend(end());
    assert_eq!(archive.len() % BLOCK, 0);
    let found: Vec<(String, &[u8])> = files(&archive).collect();
    let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names,
        ["bundle/manifest.json", &format!("{long}/proc/empty"), "block"]
    );
    assert!(
        found
            .iter()
            .zip(parts)
            .all(|((_, found), (.., wanted))| *found == wanted)
    );
}

#[test]
fn an_archive_that_is_cut_or_damaged_ends_there() {
    let archive = [entry("d", "a", b"1", 0), entry("d", "b", &[1; 600], 0)].concat();
    assert_eq!(files(&archive).count(), 2);
    assert_eq!(files(&archive[..archive.len() - 600]).count(), 1);
    assert_eq!(files(&archive[..700]).count(), 1);
    let mut damaged = archive;
    damaged[3] ^= 1;
    assert_eq!(files(&damaged).count(), 0);
}

/// As the programs that people have read it.
#[test]
fn tar_reads_it() {
    let archive = [
        entry("bundle", "proc/meminfo", b"MemTotal\n", 1_700_000_000),
        end(),
    ]
    .concat();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), archive).unwrap();
    let list = |arguments: &[&str]| {
        let told = std::process::Command::new("tar")
            .args(arguments)
            .arg(file.path())
            .output();
        told.map(|told| {
            (
                told.status.success(),
                String::from_utf8_lossy(&told.stdout).into_owned(),
            )
        })
    };
    // Every build has it; a machine without one has nothing to compare with.
    let Ok(told) = list(&["-tf"]) else { return };
    assert_eq!(told, (true, "bundle/proc/meminfo\n".to_owned()));
    assert_eq!(list(&["-xOf"]).unwrap(), (true, "MemTotal\n".to_owned()));
}
