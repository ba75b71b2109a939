//! What hits isolated CPUs, on three kernels.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use axion_lab::Image;
use axion_lab::bench::isolation::{self, Disturbance, PerCpu, rate, tick_rate};

use super::replace_section;
use crate::step::Step;
use crate::{debian, image, layout};

/// Debian's package that depends on its kernel.
const KERNEL: &str = "linux-image-amd64";

/// Counts, and says how the image compares.
pub fn isolation(seconds: u32, with_debian: bool, record: bool) -> Result<()> {
    let products = image::build()?;
    let image = Image::at(&products.dir)?;
    let debian = if with_debian { Some(debian_kernel()?) } else { None };
    // A kexec needs the kernel behind the initramfs.
    let archives = products.dir.join("bench-isolation.cpio");
    fs::write(
        &archives,
        [fs::read(image.initramfs())?, fs::read(image.kexec()?)?].concat(),
    )?;
    let other = debian.as_ref().map(|(_, file)| file.as_path());
    let found = isolation::isolation(
        &image,
        &archives,
        &image.busy()?,
        other,
        seconds,
        |what, counts| {
            eprintln!("    {what:<6} {:.2} interrupts/s per CPU", rate(counts, seconds));
        },
    )?;
    fs::remove_file(&archives)?;
    let text = report(&found, debian.as_ref().map(|(version, _)| version.as_str()));
    println!("{text}");
    if record {
        replace_section("Isolation", &text)
    } else {
        Ok(())
    }
}

/// Version and bzImage of Debian's kernel.
fn debian_kernel() -> Result<(String, PathBuf)> {
    let step = Step::start("Debian's kernel")?;
    let name = debian::dependency(&step, KERNEL, "linux-image-")?;
    let package = debian::fetch(&step, &name)?;
    let directory = layout::cache().join("bench").join(&package.sha256);
    if !directory.exists() {
        package.unpack(&step, &directory)?;
    }
    step.done();
    let mut boot = fs::read_dir(directory.join("boot"))?;
    let kernel = boot.find_map(|entry| {
        let entry = entry.ok()?;
        let is_kernel = entry.file_name().to_str()?.starts_with("vmlinuz-");
        is_kernel.then(|| entry.path())
    });
    let kernel = kernel.with_context(|| format!("{name} has no boot/vmlinuz-*"))?;
    Ok((package.version, kernel))
}

fn report(found: &Disturbance, debian: Option<&str>) -> String {
    let seconds = found.seconds;
    let mut text = format!(
        "`cargo xtask bench isolation --seconds {seconds}`: 4 CPUs in 2 NUMA nodes, emulated; a pinned loop keeps the two isolated CPUs\n\
         busy for {seconds} s on each kernel. Interrupts of every kind and, of them, timer ticks, per second and CPU.\n\n\
         | kernel | interrupts | ticks | times the image's |\n|---|---:|---:|---:|\n"
    );
    // None at all is less than one in the window.
    let least = 1.0 / f64::from(seconds) / found.image.len().max(1) as f64;
    let image = rate(&found.image, seconds).max(least);
    let mut row = |name: &str, counts: &PerCpu, is_image: bool| {
        let all = rate(counts, seconds);
        let ratio = if is_image {
            "1".to_owned()
        } else {
            format!("**{:.0}**", all / image)
        };
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "| {name} | {all:.2} | {:.2} | {ratio} |",
            tick_rate(counts, seconds)
        );
    };
    row("image, `hpc`", &found.image, true);
    row("the same kernel, no profile", &found.plain, false);
    if let (Some(counts), Some(version)) = (&found.other, debian) {
        row(&format!("Debian's, {version}"), counts, false);
    }
    text
}
