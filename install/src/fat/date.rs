//! The date of files. Firmware renames no file whose date is not a date: systemd-boot could not count its tries.

use fatfs::{Date, DateTime, Time, TimeProvider};

/// 2026-01-01T00:00:00, whatever the clock says: what is written depends on what was asked for alone.
#[derive(Debug)]
pub struct Fixed;

/// The one that there is.
pub static FIXED: Fixed = Fixed;

impl TimeProvider for Fixed {
    fn get_current_date(&self) -> Date {
        Date {
            year: 2026,
            month: 1,
            day: 1,
        }
    }

    fn get_current_date_time(&self) -> DateTime {
        DateTime {
            date: self.get_current_date(),
            time: Time {
                hour: 0,
                min: 0,
                sec: 0,
                millis: 0,
            },
        }
    }
}
