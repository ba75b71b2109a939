use super::*;

fn problem(message: &str) -> (u16, String) {
    let error = StorageError::Command(CommandError::Failed {
        command: "zfs destroy".to_owned(),
        message: message.to_owned(),
    });
    let problem = Problem::from(error);
    (problem.status, problem.detail)
}

#[test]
fn what_zfs_says_becomes_the_right_kind_of_problem_and_is_repeated() {
    let table = [
        ("cannot open 'tank/a': dataset does not exist", 404),
        ("cannot open 'tank': no such pool", 404),
        ("cannot create 'tank/a': dataset already exists", 409),
        ("cannot create 'tank/a': out of space", 507),
        ("cannot destroy 'tank/a': dataset is busy", 409),
        (
            "cannot destroy 'tank/a': filesystem has children use '-r' to destroy the following datasets: tank/a/b",
            409,
        ),
        ("Key load error: Incorrect key provided for 'tank/s'.", 422),
        (
            "cannot create 'tank/v': volume size must be a multiple of volume block size",
            422,
        ),
        ("something new", 409),
    ];
    for (message, status) in table {
        let (found, detail) = problem(message);
        assert_eq!(found, status, "{message}");
        assert_eq!(detail, format!("`zfs destroy`: {message}"));
    }
}

#[test]
fn a_field_is_pointed_to() {
    let problem = Problem::from(StorageError::at("/quota", "too small"));
    assert_eq!(
        (problem.status, problem.pointer.as_deref()),
        (422, Some("/quota"))
    );
}
