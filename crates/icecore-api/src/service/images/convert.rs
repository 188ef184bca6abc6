//! Conversion of compressed images and other formats to raw files, by external programs.

use std::fs::File;
use std::io;
use std::io::Read;
use std::io::Seek;
use std::io::SeekFrom;
use std::io::Write;
use std::path::Path;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use icecore::Progress;

use crate::service::images::probe::Format;
use crate::service::jobs::JobProgress;
use crate::words::error::ApiError;
use crate::words::error::ApiResult;

/// The interval for checking whether a program should continue.
const LOOK: Duration = Duration::from_millis(20);
/// The most bytes that are kept of a program's error output.
const COMPLAINT_BYTES: u64 = 2048;
/// Runs of zeros of this length become holes.
const HOLE_BYTES: usize = 64 << 10;

/// A conversion of a file to a raw file of limited size.
pub(crate) struct Conversion<'a> {
    pub(crate) from: &'a File,
    pub(crate) to: &'a Path,
    pub(crate) bytes_max: u64,
    pub(crate) progress: &'a JobProgress,
}

impl Conversion<'_> {
    /// Writes the raw file.
    ///
    /// # Errors
    /// 422 if the program is missing or finds the file damaged, or if the raw file would be too
    /// large.
    pub(crate) fn run(&self, format: Format) -> ApiResult<()> {
        match format {
            Format::Raw => Ok(()),
            Format::Qemu(format) => self.convert(format),
            Format::Packed(program) => self.unpack(program),
        }
    }

    /// Starts a program that reads the file from its standard input.
    fn start(&self, program: &str, arguments: &[&str]) -> ApiResult<Child> {
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => {
                let package = if program == "qemu-img" { "qemu-utils" } else { program };
                ApiError::unprocessable(format!(
                    "the server needs the program {program} to import this; on Debian, install it with `apt install {package}`"
                ))
            }
            _ => ApiError::unprocessable(format!("cannot start the program {program}: {error}")),
        };
        // Some programs start reading at the file's current position.
        let mut input = self.from.try_clone().map_err(failed)?;
        input.seek(SeekFrom::Start(0)).map_err(failed)?;
        let mut command = Command::new(program);
        command.args(arguments).env("LC_ALL", "C");
        command.stdin(input).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().map_err(failed)
    }

    /// Runs a program to its end, while `read` reads its output. The exit code must be one of the
    /// `good` ones. If the job is cancelled, the program is stopped early.
    fn finish<T: Send>(
        &self,
        program: &str,
        mut child: Child,
        good: &[i32],
        read: impl FnOnce(&mut dyn Read) -> io::Result<T> + Send,
    ) -> ApiResult<T> {
        let lost = |error: io::Error| ApiError::unprocessable(format!("lost the program {program}: {error}"));
        let (output, complaints) = (child.stdout.take(), child.stderr.take());
        thread::scope(|scope| {
            let reader = thread::Builder::new().spawn_scoped(scope, || match output {
                Some(mut output) => read(&mut output),
                None => read(&mut io::empty()),
            });
            let reader = reader.map_err(|error| without_a_thread(&mut child, error))?;
            let complaint = thread::Builder::new().spawn_scoped(scope, || {
                let mut kept = Vec::new();
                if let Some(mut complaints) = complaints {
                    let _ = complaints.by_ref().take(COMPLAINT_BYTES).read_to_end(&mut kept);
                    let _ = io::copy(&mut complaints, &mut io::sink());
                }
                String::from_utf8_lossy(&kept).trim().replace('\n', "; ")
            });
            let complaint = complaint.map_err(|error| without_a_thread(&mut child, error))?;
            let status = loop {
                if let Some(status) = child.try_wait().map_err(lost)? {
                    break status;
                }
                if self.progress.cancelled() {
                    child.kill().map_err(lost)?;
                }
                thread::sleep(LOOK);
            };
            let read = reader.join().map_err(|_| ApiError::server("a thread panicked"))?;
            let complaint = complaint.join().unwrap_or_default();
            if self.progress.cancelled() {
                return Err(ApiError::unprocessable("interrupted"));
            }
            match read {
                Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                    Err(icecore::Error::io(format!("writing the output of {program}"), error).into())
                }
                Ok(done) if status.code().is_some_and(|code| good.contains(&code)) => Ok(done),
                _ => Err(ApiError::unprocessable(format!("{program} failed: {complaint}"))),
            }
        })
    }

    /// Describes the file for `qemu-img` with no backing file, whatever its header says.
    fn description(format: &str) -> String {
        let file = serde_json::json!({"driver": "file", "filename": "/dev/fd/0", "locking": "off"});
        format!(
            "json:{}",
            serde_json::json!({"driver": format, "backing": null, "read-only": true, "file": file})
        )
    }

    fn convert(&self, format: &str) -> ApiResult<()> {
        let (program, from) = ("qemu-img", Self::description(format));
        let child = self.start(program, &["info", "--output=json", &from])?;
        let about = self.finish(program, child, &[0], |output| {
            let mut text = Vec::new();
            output.take(1 << 20).read_to_end(&mut text)?;
            Ok(text)
        })?;
        let about: serde_json::Value = serde_json::from_slice(&about).unwrap_or_default();
        let bytes = about["virtual-size"].as_u64().unwrap_or(0);
        self.check_size(bytes)?;
        // A missing end of a file would be read as zeros. Leaked clusters are not damage, and not
        // all formats can be checked.
        let child = self.start(program, &["check", &from])?;
        self.finish(program, child, &[0, 3, 63], |output| io::copy(output, &mut io::sink()))?;
        self.progress.begin(bytes);
        let to = self.to.to_string_lossy();
        let child = self.start(program, &["convert", "-p", "-O", "raw", &from, &to])?;
        self.finish(program, child, &[0], |output| {
            let mut seen = Vec::new();
            let mut byte = [0];
            while output.read(&mut byte)? > 0 {
                // The program repeatedly prints `    (12.34/100%)`.
                if byte[0] == b'/' {
                    let text: Vec<u8> =
                        seen.iter().rev().take_while(|it| b"0123456789.".contains(it)).copied().collect();
                    let text: String = text.into_iter().rev().map(char::from).collect();
                    self.progress.set_done(share(bytes, &text));
                    seen.clear();
                } else {
                    seen.push(byte[0]);
                }
            }
            Ok(())
        })
    }

    fn unpack(&self, program: &str) -> ApiResult<()> {
        let making = |error| icecore::Error::io(format!("writing {}", self.to.display()), error);
        let mut to = File::options().write(true).open(self.to).map_err(making)?;
        let child = self.start(program, &["-d", "-c"])?;
        let mut bytes = 0;
        let done = self.finish(program, child, &[0], |output| {
            bytes = write_sparse(output, &mut to, self.bytes_max)?;
            Ok(())
        });
        // If the output is too large, the program was stopped early and complains about that.
        if bytes <= self.bytes_max {
            done?;
        }
        self.check_size(bytes)
    }

    pub(crate) fn check_size(&self, bytes: u64) -> ApiResult<()> {
        check_size(bytes, self.bytes_max)
    }
}

/// Checks the size of an imported disk.
pub(crate) fn check_size(bytes: u64, bytes_max: u64) -> ApiResult<()> {
    match bytes {
        0 => Err(ApiError::unprocessable("the image is empty")),
        _ if bytes > bytes_max => Err(ApiError::unprocessable(format!(
            "the disk of the image is larger than the {} GB that the server's configuration allows (import.max_gigabytes)",
            bytes_max >> 30
        ))),
        _ => Ok(()),
    }
}

/// Returns a percentage of a number.
fn share(of: u64, percent: &str) -> u64 {
    let (whole, rest) = percent.split_once('.').unwrap_or((percent, "0"));
    let number = |text: &str| text.parse::<u64>().unwrap_or(0);
    let hundredths = number(whole) * 100 + number(rest.get(..2).unwrap_or("0"));
    of / 10_000 * hundredths.min(10_000)
}

/// Copies a stream, with holes for its zeros, until it exceeds the limit. Returns the number of
/// bytes that arrived.
fn write_sparse(from: &mut dyn Read, to: &mut File, bytes_max: u64) -> io::Result<u64> {
    let mut buffer = vec![0; HOLE_BYTES];
    let mut total = 0;
    loop {
        let mut filled = 0;
        while filled < buffer.len() {
            match from.read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let length = u64::try_from(filled).unwrap_or(0);
        if buffer[..filled].iter().all(|byte| *byte == 0) {
            to.seek(SeekFrom::Current(i64::try_from(filled).unwrap_or(0)))?;
        } else {
            to.write_all(&buffer[..filled])?;
        }
        total += length;
        if filled < buffer.len() || total > bytes_max {
            to.set_len(total)?;
            return Ok(total);
        }
    }
}

/// Ends a program when no thread could be started to read its output.
fn without_a_thread(child: &mut Child, error: io::Error) -> ApiError {
    // If the program has already ended, nothing is left to do.
    let _ = child.kill().and_then(|()| child.wait());
    icecore::Error::no_thread(error).into()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn percents_are_read() {
        for (text, bytes) in [("0.00", 0), ("12.34", 1234), ("100", 10_000), ("", 0), ("900", 10_000)] {
            assert_eq!(share(10_000, text), bytes, "{text}");
        }
    }

    #[test]
    fn what_unpacks_to_more_than_it_may_is_told_its_size() {
        let packed = tempfile::NamedTempFile::new().unwrap();
        let (out, zeros) = (packed.reopen().unwrap(), File::open("/dev/zero").unwrap());
        let mut gzip = Command::new("gzip").stdin(Stdio::piped()).stdout(out).spawn().unwrap();
        io::copy(&mut zeros.take(8 << 20), &mut gzip.stdin.take().unwrap()).unwrap();
        assert!(gzip.wait().unwrap().success());
        let to = tempfile::NamedTempFile::new().unwrap();
        let progress = JobProgress::default();
        let from = File::open(packed.path()).unwrap();
        let unpack = |bytes_max: u64| {
            Conversion { from: &from, to: to.path(), bytes_max, progress: &progress }
                .run(Format::Packed("gzip"))
        };
        let refused = unpack(1 << 20).unwrap_err().message;
        assert!(refused.contains("import.max_gigabytes"), "{refused}");
        unpack(8 << 20).unwrap();
        assert_eq!(to.as_file().metadata().unwrap().len(), 8 << 20);
    }

    #[test]
    fn zeros_become_holes_and_sizes_are_kept() {
        let mut bytes = vec![0; 3 << 20];
        bytes[1 << 20..][..5].copy_from_slice(b"hello");
        bytes.push(7);
        bytes.extend(vec![0; 100_000]);
        let mut file = tempfile::tempfile().unwrap();
        let total = write_sparse(&mut bytes.as_slice(), &mut file, u64::MAX).unwrap();
        file.rewind().unwrap();
        let mut read = Vec::new();
        file.read_to_end(&mut read).unwrap();
        assert!(read == bytes && total == u64::try_from(bytes.len()).unwrap());
        assert!(file.metadata().unwrap().blocks() * 512 < 1 << 20);
        let mut endless = io::repeat(0);
        let mut file = tempfile::tempfile().unwrap();
        assert!(write_sparse(&mut endless, &mut file, 1 << 20).unwrap() > 1 << 20);
    }
}
