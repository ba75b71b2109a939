use super::*;

fn log(entries: &[(u64, u64, u64, &[u8])]) -> Vec<u8> {
    let count = u64::try_from(entries.len()).unwrap();
    let mut log = [MAGIC, VERSION, count].map(u64::to_le_bytes).concat();
    log.extend(512_u32.to_le_bytes());
    log.resize(512, 0);
    for (at, sectors, flags, content) in entries {
        let start = log.len();
        log.extend([*at, *sectors, *flags, 0].map(u64::to_le_bytes).concat());
        log.resize(start + 512, 0);
        log.extend_from_slice(content);
    }
    log
}

#[test]
fn writes_and_flushes_come_in_their_order() {
    let log = log(&[
        (3, 1, 0, &[7; 512]),
        (0, 0, FLUSH, &[]),
        (0, 4096, DISCARD, &[]),
        (8, 2, FLUSH | 2, &[9; 1024]),
    ]);
    let operations = read(log.as_slice()).unwrap();
    let told: Vec<String> = operations
        .iter()
        .map(|operation| match operation {
            Operation::Flush => "flush".to_owned(),
            Operation::Write { offset, bytes } => format!("{offset}: {} x {}", bytes.len(), bytes[0]),
        })
        .collect();
    assert_eq!(told, ["1536: 512 x 7", "flush", "flush", "4096: 1024 x 9"]);
}

#[test]
fn what_is_no_log_or_ends_early_is_refused() {
    let good = log(&[(3, 1, 0, &[7; 512])]);
    let error = read(&good[..1100]).unwrap_err();
    assert!(matches!(error, LogError::Io { entry: 0, .. }), "{error}");
    let mut other = good.clone();
    other[0] = 0;
    assert!(matches!(read(other.as_slice()), Err(LogError::Format { .. })));
    let huge = log(&[(0, u64::MAX, 0, &[])]);
    assert!(matches!(read(huge.as_slice()), Err(LogError::Large { .. })));
    assert!(read([].as_slice()).is_err());
}
