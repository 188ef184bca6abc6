//! The protocol, asked by `nbdsh`.

use crate::support::Fixture;
use crate::volumes::server::Server;
use crate::volumes::tools;

/// Runs a script against a volume of 3 MiB and 1000 bytes, and one against what it left.
fn on_a_volume(text: &str) {
    if !tools::have(&["nbdsh"]) {
        return;
    }
    let fixture = Fixture::with_snapshot();
    fixture.run(&["volume", "create", "web", "--snapshot", "base"]).exits(0);
    let server = Server::start(&fixture, &["web"]);
    let load = format!("image = bytearray(open({:?}, 'rb').read())", fixture.path("disk.raw"));
    let check = "assert h.pread(len(image), 0) == image";
    // What it leaves is what it says, also for the next client and after a restart.
    let save = format!("open({:?}, 'wb').write(image)", fixture.path("model.raw"));
    tools::script(&server.uri("web"), &[&load, text, check, &save].join("\n"));
    let load = format!("image = open({:?}, 'rb').read()", fixture.path("model.raw"));
    tools::script(&server.uri("web"), &[&load, check].join("\n"));
    server.stop();
    fixture.run(&["volume", "export", "web", "web.raw"]).exits(0);
    fixture.assert_equal("web.raw", "model.raw");
}

#[test]
fn the_export_says_what_it_can() {
    on_a_volume(
        "
assert h.get_size() == len(image)
assert h.get_protocol() == 'newstyle-fixed' and h.get_structured_replies_negotiated()
assert h.can_flush() and h.can_fua() and h.can_trim() and h.can_zero() and h.can_cache() and h.can_df()
assert h.can_multi_conn() and not h.is_read_only() and not h.is_rotational()
assert h.can_meta_context('base:allocation') and h.can_meta_context('icecore:dirty')
assert h.get_block_size(nbd.SIZE_MINIMUM) == 1, h.get_block_size(nbd.SIZE_MINIMUM)
assert h.get_block_size(nbd.SIZE_PREFERRED) == 4096
assert h.get_block_size(nbd.SIZE_MAXIMUM) == 32 << 20",
    );
}

#[test]
fn writes_of_any_place_and_length_are_read_back() {
    on_a_volume(
        "
import random
random.seed(5)
def write(data, at, flags):
    image[at:at + len(data)] = data
    h.pwrite(data, at, flags)
for n in range(200):
    at = random.randrange(len(image))
    length = min(random.choice([1, 511, 512, 4095, 4096, 4097, 65536, 300000]), len(image) - at)
    if n % 3 == 0: at = at // 4096 * 4096
    write(random.randbytes(length), at, nbd.CMD_FLAG_FUA if n % 5 == 0 else 0)
    if n % 7 == 0: h.flush()
    if n % 2 == 0:
        at = random.randrange(len(image)); length = random.randrange(1, len(image) - at + 1)
        assert h.pread(length, at) == image[at:at + length]
        assert h.pread_structured(length, at, lambda *chunk: 0, nbd.CMD_FLAG_DF) == image[at:at + length]
write(random.randbytes(len(image)), 0, 0)
h.cache(len(image), 0)",
    );
}

#[test]
fn zeros_and_trims_are_read_as_zeros() {
    on_a_volume(
        "
def status(context):
    found = []
    def tell(name, offset, entries, error):
        if name == context:
            at = offset
            for length, flags in zip(entries[::2], entries[1::2]):
                found.append((at, length, flags)); at += length
    h.block_status(len(image), 0, tell)
    return found
def flags_at(context, at):
    return [flags for start, length, flags in status(context) if start <= at < start + length][0]
assert [flags for _, _, flags in status('icecore:dirty')] == [0]
h.zero(65536, 4096); image[4096:4096 + 65536] = bytes(65536)
assert flags_at('base:allocation', 4096) == nbd.STATE_HOLE | nbd.STATE_ZERO
assert flags_at('icecore:dirty', 4096) == 1
h.zero(65536, 131072, nbd.CMD_FLAG_NO_HOLE | nbd.CMD_FLAG_FUA); image[131072:131072 + 65536] = bytes(65536)
assert flags_at('base:allocation', 131072) & nbd.STATE_HOLE == 0
h.zero(5000, 200001); image[200001:205001] = bytes(5000)
h.zero(100, 1000, nbd.CMD_FLAG_NO_HOLE); image[1000:1100] = bytes(100)
# A trim of what is not a whole block leaves that part.
h.trim(8192, 204800 + 100, nbd.CMD_FLAG_FUA); image[208896:212992] = bytes(4096)
h.trim(1000, len(image) - 1000); image[len(image) - 1000:] = bytes(1000)
assert h.pread(len(image), 0) == image
dirty = {block for at, length, flags in status('icecore:dirty') if flags for block in range(at // 4096, -(-(at + length) // 4096))}
def blocks(at, length): return set(range(at // 4096, -(-(at + length) // 4096)))
expected = blocks(4096, 65536) | blocks(131072, 65536) | blocks(200001, 5000) | blocks(1000, 100) | blocks(208896, 4096) | blocks(len(image) - 1000, 1000)
assert dirty == expected, (dirty, expected)
h.pwrite(b'x' * 10, 5000); image[5000:5010] = b'x' * 10
assert flags_at('base:allocation', 5000) == 0
one = []
h.block_status(len(image), 0, lambda name, offset, entries, error: one.append(len(entries)), nbd.CMD_FLAG_REQ_ONE)
assert one == [2, 2], one
h.zero(len(image), 0); image[:] = bytes(len(image))
assert [flags for _, _, flags in status('base:allocation')] == [3]
h.pwrite(b'y' * 4096, 8192); image[8192:12288] = b'y' * 4096
assert [(at, length, flags) for at, length, flags in status('base:allocation')] == [(0, 8192, 3), (8192, 4096, 0), (12288, len(image) - 12288, 3)]",
    );
}

#[test]
fn bad_requests_are_refused_and_change_nothing() {
    on_a_volume(
        "
import errno
h.set_strict_mode(0)
def refused(number, call):
    try:
        call()
    except nbd.Error as error:
        assert error.errnum == number, (error, number)
        return
    assert False
size = len(image)
refused(errno.EINVAL, lambda: h.pread(1, size))
refused(errno.EINVAL, lambda: h.pread(4096, size - 1))
refused(errno.ENOSPC, lambda: h.pwrite(b'x' * 4096, size - 1))
refused(errno.ENOSPC, lambda: h.pwrite(b'x', 1 << 62))
refused(errno.EINVAL, lambda: h.trim(4096, size))
refused(errno.ENOSPC, lambda: h.zero(4096, size - 100))
refused(errno.EINVAL, lambda: h.cache(2, size - 1))
refused(errno.EINVAL, lambda: h.block_status(4096, size, lambda *a: 0))
refused(errno.EINVAL, lambda: h.pwrite(b'x', 0, 1 << 9))
refused(errno.EINVAL, lambda: h.pwrite(b'x', 0, nbd.CMD_FLAG_NO_HOLE))
refused(errno.EINVAL, lambda: h.flush(nbd.CMD_FLAG_NO_HOLE))
refused(errno.EINVAL, lambda: h.trim(0, 0))
assert h.pread(size, 0) == image",
    );
}

#[test]
fn a_client_of_simple_replies_is_served_too() {
    if !tools::have(&["nbdsh"]) {
        return;
    }
    let fixture = Fixture::with_snapshot();
    fixture.run(&["volume", "create", "web", "--snapshot", "base"]).exits(0);
    let server = Server::start(&fixture, &["web"]);
    let text = format!(
        "
import errno
h.set_request_structured_replies(False); h.connect_uri({:?})
image = open({:?}, 'rb').read()
assert not h.get_structured_replies_negotiated() and h.pread(len(image), 0) == image
h.pwrite(b'z' * 5000, 1, nbd.CMD_FLAG_FUA)
assert h.pread(5002, 0) == image[:1] + b'z' * 5000 + image[5001:5002]
h.set_strict_mode(0)
try:
    h.pread(10, len(image)); assert False
except nbd.Error as error:
    assert error.errnum == errno.EINVAL
assert h.pread(1, 1) == b'z'",
        server.uri("web"),
        fixture.path("disk.raw")
    );
    tools::works("nbdsh", &["-c", &text]);
    server.stop();
}

#[test]
fn one_connection_sees_what_another_has_written() {
    if !tools::have(&["nbdsh"]) {
        return;
    }
    let fixture = Fixture::new();
    fixture.run(&["volume", "create", "web", "--size", "16M"]).exits(0);
    let server = Server::start(&fixture, &["web"]);
    let text = format!(
        "
others = [nbd.NBD() for _ in range(8)]
for other in others: other.connect_uri({:?})
for n in range(64):
    writer, reader, flusher = others[n % 8], others[(n + 3) % 8], others[(n + 5) % 8]
    data = bytes([n + 1]) * 70000
    writer.pwrite(data, n * 100003)
    assert reader.pread(70000, n * 100003) == data
    flusher.flush()
# Many requests at once, of all of them.
buffers = [(n, nbd.Buffer.from_bytearray(bytearray(bytes([n + 100]) * 4096))) for n in range(64)]
cookies = [(others[n % 8], others[n % 8].aio_pwrite(buffer, n * 4096)) for n, buffer in buffers]
for other, cookie in cookies:
    while not other.aio_command_completed(cookie): other.poll(-1)
for n in range(64): assert h.pread(4096, n * 4096) == bytes([n + 100]) * 4096
for other in others: other.shutdown()",
        server.uri("web")
    );
    tools::script(&server.uri("web"), &text);
    server.stop();
}
