use super::*;

const SHOWN: &str = "Package: libc6\nArchitecture: amd64\nVersion: 2.41-12\nSHA256: aa\n\nPackage: libcap2\n\
                     Architecture: amd64\nVersion: 1:2.75-10\nSHA256: bb\nDescription: x\n Package: libc6\n";

#[test]
fn every_package_has_a_paragraph_of_its_own() {
    let package = |name| parse(SHOWN, name, Path::new("/archives"));
    assert_eq!(package("libc6").unwrap().sha256, "aa");
    let capabilities = package("libcap2").unwrap();
    assert_eq!(capabilities.version, "1:2.75-10");
    assert_eq!(
        capabilities.file,
        Path::new("/archives/libcap2_1%3a2.75-10_amd64.deb")
    );
    let error = package("lib").unwrap_err().to_string();
    assert!(error.contains("lib"), "{error}");
}
