use std::io::Read;

use super::*;

fn told(user_data: &str) -> CloudInit {
    CloudInit {
        user_data: user_data.to_owned(),
        ..CloudInit::default()
    }
}

fn read(image: &[u8], file: &str) -> Option<String> {
    let volume = FileSystem::new(Cursor::new(image.to_vec()), FsOptions::new()).unwrap();
    assert_eq!(volume.volume_label(), "CIDATA");
    let mut text = String::new();
    volume
        .root_dir()
        .open_file(file)
        .ok()?
        .read_to_string(&mut text)
        .unwrap();
    Some(text)
}

#[test]
fn the_same_texts_give_the_same_bytes() {
    let mut all = told("#cloud-config\n");
    all.network_config = Some("version: 2\n".to_owned());
    let first = image("web", &all).unwrap();
    assert_eq!(first, image("web", &all).unwrap());
    assert_eq!(first.len() % 512, 0);
    assert_eq!(read(&first, "user-data").unwrap(), "#cloud-config\n");
    assert_eq!(read(&first, "network-config").unwrap(), "version: 2\n");
    let meta = read(&first, "meta-data").unwrap();
    assert!(meta.starts_with("instance-id: web-") && meta.ends_with("\nlocal-hostname: web\n"));
}

#[test]
fn other_texts_are_another_instance_unless_the_operator_says_which() {
    let instance = |told: &CloudInit| read(&image("web", told).unwrap(), "meta-data").unwrap();
    assert_ne!(instance(&told("a")), instance(&told("b")));
    let mut own = told("a");
    own.meta_data = Some("instance-id: mine\n".to_owned());
    assert_eq!(instance(&own), "instance-id: mine\n");
    assert_eq!(read(&image("web", &own).unwrap(), "network-config"), None);
}

#[test]
fn the_longest_texts_fit() {
    let all = CloudInit {
        user_data: "x".repeat(LONGEST_USER_DATA),
        meta_data: Some("y".repeat(LONGEST_OTHER)),
        network_config: Some("z".repeat(LONGEST_OTHER)),
    };
    let made = image("web", &all).unwrap();
    assert_eq!(read(&made, "user-data").unwrap().len(), LONGEST_USER_DATA);
}
