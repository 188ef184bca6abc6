"""The S3 server of the tests, seen by boto3."""

import contextlib
import hashlib
import json
import os
import subprocess
import tempfile
import threading
import unittest
import urllib.request

import boto3
import botocore.config
import botocore.exceptions


class Server:
    """The program, and clients for it."""

    def __init__(self, *args):
        self.process = subprocess.Popen(
            [os.environ["S3_DOUBLE"], "--bucket", "lab", *args], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.endpoint = self.line("endpoint")
        self.control = self.line("control")

    def line(self, name):
        word, value = self.process.stdout.readline().split()
        assert word == name, word
        return value

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        code = self.process.wait(timeout=30)
        self.process.stdout.close()
        assert code == 0, code

    def client(self, access="test", secret="secret", region="us-east-1", attempts=1, read_timeout=60):
        config = botocore.config.Config(
            s3={"addressing_style": "path"}, retries={"total_max_attempts": attempts}, read_timeout=read_timeout
        )
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=access,
            aws_secret_access_key=secret,
            region_name=region,
            config=config,
        )

    def ask(self, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(urllib.request.Request(self.control + path, data=data), timeout=30) as answer:
            return json.load(answer)

    def faults(self, *rules, seed=0):
        self.ask("/_faults", {"seed": seed, "rules": list(rules)})


def body(client, key, **more):
    return client.get_object(Bucket="lab", Key=key, **more)["Body"].read()


def keys(client, **more):
    pages = client.get_paginator("list_objects_v2").paginate(Bucket="lab", **more)
    return [entry["Key"] for page in pages for entry in page.get("Contents", [])]


class Case(unittest.TestCase):
    @contextlib.contextmanager
    def refused(self, code, status=None):
        with self.assertRaises(botocore.exceptions.ClientError) as caught:
            yield
        error = caught.exception.response
        self.assertEqual(error["Error"]["Code"], code)
        if status is not None:
            self.assertEqual(error["ResponseMetadata"]["HTTPStatusCode"], status)


class Objects(Case):
    def setUp(self):
        server = Server()
        self.addCleanup(server.__exit__)
        self.server, self.s3 = server, server.client()

    def test_an_object_comes_back_whole_and_in_ranges(self):
        data = os.urandom(3_000_000)
        made = self.s3.put_object(Bucket="lab", Key="packs/ä b+c", Body=data, Metadata={"who": "me"}, ContentType="x/y")
        got = self.s3.get_object(Bucket="lab", Key="packs/ä b+c")
        self.assertEqual(got["Body"].read(), data)
        self.assertEqual((got["ETag"], got["Metadata"], got["ContentType"]), (made["ETag"], {"who": "me"}, "x/y"))
        head = self.s3.head_object(Bucket="lab", Key="packs/ä b+c")
        self.assertEqual((head["ContentLength"], head["ETag"]), (len(data), made["ETag"]))
        self.assertEqual(head["LastModified"], got["LastModified"])
        for text, part in [
            ("bytes=0-0", data[:1]),
            ("bytes=100-199", data[100:200]),
            ("bytes=2999990-", data[-10:]),
            ("bytes=2999990-99999999", data[-10:]),
            ("bytes=-65536", data[-65536:]),
            ("bytes=-99999999", data),
        ]:
            got = self.s3.get_object(Bucket="lab", Key="packs/ä b+c", Range=text)
            self.assertEqual(got["Body"].read(), part, text)
            self.assertEqual(got["ResponseMetadata"]["HTTPStatusCode"], 206)
            self.assertTrue(got["ContentRange"].endswith("/3000000"))
        with self.refused("InvalidRange", 416):
            body(self.s3, "packs/ä b+c", Range="bytes=3000000-")
        with self.refused("NoSuchKey", 404):
            body(self.s3, "nothing")
        with self.refused("404", 404):
            self.s3.head_object(Bucket="lab", Key="nothing")
        with self.refused("NoSuchBucket", 404):
            self.s3.put_object(Bucket="nowhere", Key="a", Body=b"")

    def test_an_empty_object_is_one(self):
        self.s3.put_object(Bucket="lab", Key="empty", Body=b"")
        self.assertEqual(body(self.s3, "empty"), b"")
        self.assertEqual(self.s3.head_object(Bucket="lab", Key="empty")["ContentLength"], 0)

    def test_conditions_of_reads_are_kept(self):
        etag = self.s3.put_object(Bucket="lab", Key="a", Body=b"1")["ETag"]
        self.assertEqual(body(self.s3, "a", IfMatch=etag), b"1")
        with self.refused("304", 304):
            body(self.s3, "a", IfNoneMatch=etag)
        self.s3.put_object(Bucket="lab", Key="a", Body=b"2")
        with self.refused("PreconditionFailed", 412):
            body(self.s3, "a", IfMatch=etag)
        self.assertEqual(body(self.s3, "a", IfNoneMatch=etag), b"2")

    def test_conditions_of_writes_are_kept(self):
        etag = self.s3.put_object(Bucket="lab", Key="a", Body=b"1", IfNoneMatch="*")["ETag"]
        with self.refused("PreconditionFailed", 412):
            self.s3.put_object(Bucket="lab", Key="a", Body=b"2", IfNoneMatch="*")
        self.s3.put_object(Bucket="lab", Key="a", Body=b"3", IfMatch=etag)
        with self.refused("PreconditionFailed", 412):
            self.s3.put_object(Bucket="lab", Key="a", Body=b"4", IfMatch=etag)
        with self.refused("NoSuchKey", 404):
            self.s3.put_object(Bucket="lab", Key="b", Body=b"5", IfMatch=etag)
        self.assertEqual((body(self.s3, "a"), keys(self.s3)), (b"3", ["a"]))

    def test_of_many_who_create_at_once_one_wins(self):
        clients = [self.server.client() for _ in range(8)]
        for turn in range(10):
            outcomes = []

            def create(client, who):
                try:
                    client.put_object(Bucket="lab", Key=f"race/{turn}", Body=b"%d" % who, IfNoneMatch="*")
                    outcomes.append(who)
                except botocore.exceptions.ClientError as error:
                    assert error.response["Error"]["Code"] == "PreconditionFailed", error

            threads = [threading.Thread(target=create, args=pair) for pair in zip(clients, range(8))]
            [thread.start() for thread in threads]
            [thread.join() for thread in threads]
            self.assertEqual(len(outcomes), 1)
            self.assertEqual(body(self.s3, f"race/{turn}"), b"%d" % outcomes[0])

    def test_lists_have_prefix_delimiter_start_and_pages(self):
        names = ["a", "packs/1", "packs/2", "packs/x/1", "packs/x/2", "packs/y/1", "z/ü +&<"]
        for name in names:
            self.s3.put_object(Bucket="lab", Key=name, Body=b"12")
        for size in (1, 2, 3, 1000):
            pages = {"PaginationConfig": {"PageSize": size}}
            self.assertEqual(keys(self.s3, **pages), names)
            self.assertEqual(keys(self.s3, Prefix="packs/x", **pages), names[3:5])
            self.assertEqual(keys(self.s3, StartAfter="packs/2", **pages), names[3:])
            found, token = [], {}
            while True:
                page = self.s3.list_objects_v2(Bucket="lab", Prefix="packs/", Delimiter="/", MaxKeys=size, **token)
                found += [entry["Key"] for entry in page.get("Contents", [])]
                found += [entry["Prefix"] for entry in page.get("CommonPrefixes", [])]
                self.assertLessEqual(page["KeyCount"], size)
                if not page["IsTruncated"]:
                    break
                token = {"ContinuationToken": page["NextContinuationToken"]}
            self.assertEqual(sorted(found), ["packs/1", "packs/2", "packs/x/", "packs/y/"])
        entry = self.s3.list_objects_v2(Bucket="lab", Prefix="z/")["Contents"][0]
        head = self.s3.head_object(Bucket="lab", Key="z/ü +&<")
        self.assertEqual((entry["Size"], entry["ETag"]), (2, head["ETag"]))
        self.assertEqual(entry["LastModified"].replace(microsecond=0), head["LastModified"])

    def test_deleted_objects_are_gone_and_deleting_nothing_is_no_error(self):
        for name in "abcd":
            self.s3.put_object(Bucket="lab", Key=name, Body=b"")
        self.s3.delete_object(Bucket="lab", Key="a")
        self.s3.delete_object(Bucket="lab", Key="a")
        answer = self.s3.delete_objects(Bucket="lab", Delete={"Objects": [{"Key": name} for name in "abx"]})
        self.assertEqual(sorted(entry["Key"] for entry in answer["Deleted"]), ["a", "b", "x"])
        self.assertEqual(keys(self.s3), ["c", "d"])

    def test_copies_are_made_on_condition(self):
        self.s3.put_object(Bucket="lab", Key="from", Body=b"1", Metadata={"who": "me"})
        source = {"Bucket": "lab", "Key": "from"}
        self.s3.copy_object(Bucket="lab", Key="to ü", CopySource=source)
        self.assertEqual(self.s3.get_object(Bucket="lab", Key="to ü")["Metadata"], {"who": "me"})
        self.s3.meta.events.register("before-call.s3.CopyObject", lambda params, **_: params["headers"].update({"If-None-Match": "*"}))
        with self.refused("PreconditionFailed", 412):
            self.s3.copy_object(Bucket="lab", Key="to ü", CopySource=source)
        self.s3.copy_object(Bucket="lab", Key="to2", CopySource=source)
        self.assertEqual(body(self.s3, "to2"), b"1")

    def test_an_upload_in_parts_is_nothing_until_it_is_complete(self):
        parts = [os.urandom(5 << 20), os.urandom(5 << 20), b"end"]
        upload = self.s3.create_multipart_upload(Bucket="lab", Key="big")["UploadId"]
        this = {"Bucket": "lab", "Key": "big", "UploadId": upload}
        etags = [
            self.s3.upload_part(PartNumber=number, Body=part, **this)["ETag"] for number, part in enumerate(parts, 1)
        ]
        self.assertEqual(keys(self.s3), [])
        named = [{"PartNumber": number, "ETag": etag} for number, etag in enumerate(etags, 1)]
        with self.refused("InvalidPartOrder", 400):
            self.s3.complete_multipart_upload(MultipartUpload={"Parts": named[::-1]}, **this)
        with self.refused("InvalidPart", 400):
            wrong = [dict(named[0], ETag='"x"')]
            self.s3.complete_multipart_upload(MultipartUpload={"Parts": wrong}, **this)
        self.s3.complete_multipart_upload(MultipartUpload={"Parts": named}, IfNoneMatch="*", **this)
        self.assertEqual(body(self.s3, "big"), b"".join(parts))
        over = b"".join(parts)[(5 << 20) - 3 : (10 << 20) + 2]
        self.assertEqual(body(self.s3, "big", Range=f"bytes={(5 << 20) - 3}-{(10 << 20) + 1}"), over)

        upload = self.s3.create_multipart_upload(Bucket="lab", Key="big")["UploadId"]
        this["UploadId"] = upload
        copied = self.s3.upload_part_copy(
            PartNumber=1, CopySource="lab/big", CopySourceRange="bytes=5-9", **this
        )["CopyPartResult"]["ETag"]
        named = {"Parts": [{"PartNumber": 1, "ETag": copied}]}
        with self.refused("PreconditionFailed", 412):
            self.s3.complete_multipart_upload(MultipartUpload=named, IfNoneMatch="*", **this)
        self.s3.complete_multipart_upload(MultipartUpload=named, **this)
        self.assertEqual(body(self.s3, "big"), parts[0][5:10])
        this["UploadId"] = self.s3.create_multipart_upload(Bucket="lab", Key="big")["UploadId"]
        self.s3.abort_multipart_upload(**this)
        with self.refused("NoSuchUpload", 404):
            self.s3.upload_part(PartNumber=1, Body=b"", **this)

    def test_checksums_are_checked(self):
        for checksum in ("CRC32", "SHA1", "SHA256"):
            self.s3.put_object(Bucket="lab", Key="a", Body=b"1", ChecksumAlgorithm=checksum)
        good = hashlib.sha256(b"2").digest()
        import base64

        with self.refused("BadDigest", 400):
            self.s3.put_object(Bucket="lab", Key="a", Body=b"3", ChecksumSHA256=base64.b64encode(good).decode())
        with self.refused("BadDigest", 400):
            md5 = base64.b64encode(hashlib.md5(b"2").digest()).decode()
            self.s3.put_object(Bucket="lab", Key="a", Body=b"3", ContentMD5=md5)
        self.assertEqual(body(self.s3, "a"), b"1")

    def test_buckets_are_made_once_and_listed(self):
        self.s3.create_bucket(Bucket="second")
        with self.refused("BucketAlreadyOwnedByYou", 409):
            self.s3.create_bucket(Bucket="second")
        self.s3.head_bucket(Bucket="second")
        with self.refused("404", 404):
            self.s3.head_bucket(Bucket="third")
        self.assertEqual([entry["Name"] for entry in self.s3.list_buckets()["Buckets"]], ["lab", "second"])
        self.assertIsNone(self.s3.get_bucket_location(Bucket="lab").get("LocationConstraint"))


class Access(Case):
    def test_a_wrong_secret_and_an_unknown_key_are_refused(self):
        with Server() as server:
            with self.refused("SignatureDoesNotMatch", 403):
                server.client(secret="wrong").list_buckets()
            with self.refused("InvalidAccessKeyId", 403):
                server.client(access="nobody").list_buckets()

    def test_another_region_is_refused_and_the_right_one_named(self):
        with Server("--region", "eu-1") as server:
            server.client(region="eu-1").put_object(Bucket="lab", Key="a", Body=b"")
            server.ask("/_reset", {})
            # The client reads the right region in the refusal, and signs again.
            self.assertEqual(keys(server.client(region="eu-2")), ["a"])
            statuses = [call["status"] for call in server.ask("/_log")]
            self.assertEqual((statuses[0], statuses[-1]), (400, 200))

    def test_each_credential_may_do_what_its_rights_say(self):
        args = ["--access", "all:s", "--access", "capture:s:get,list,put-new", "--access", "gc:s:get,list,delete"]
        with Server(*args, "--access", "blind:s:get") as server:
            every, capture, gc, blind = (server.client(who, "s") for who in ("all", "capture", "gc", "blind"))
            capture.put_object(Bucket="lab", Key="a", Body=b"1", IfNoneMatch="*")
            self.assertEqual((body(capture, "a"), keys(capture)), (b"1", ["a"]))
            for refused in (
                lambda: capture.put_object(Bucket="lab", Key="a", Body=b"2"),
                lambda: capture.put_object(Bucket="lab", Key="b", Body=b"2"),
                lambda: capture.delete_object(Bucket="lab", Key="a"),
                lambda: capture.copy_object(Bucket="lab", Key="b", CopySource="lab/a"),
                lambda: gc.put_object(Bucket="lab", Key="b", Body=b"2", IfNoneMatch="*"),
                lambda: gc.create_multipart_upload(Bucket="lab", Key="b"),
                lambda: blind.list_objects_v2(Bucket="lab"),
                lambda: blind.get_object(Bucket="lab", Key="nothing"),
                lambda: gc.create_bucket(Bucket="more"),
            ):
                with self.refused("AccessDenied", 403):
                    refused()
            answer = capture.delete_objects(Bucket="lab", Delete={"Objects": [{"Key": "a"}]})
            self.assertEqual([entry["Code"] for entry in answer["Errors"]], ["AccessDenied"])
            self.assertEqual(body(blind, "a"), b"1")
            gc.delete_object(Bucket="lab", Key="a")
            self.assertEqual(keys(every), [])

    def test_locked_objects_stay_until_their_time_has_come(self):
        with Server("--retain-seconds", "3600") as server:
            s3 = server.client()
            s3.put_object(Bucket="lab", Key="a", Body=b"1", IfNoneMatch="*")
            self.assertIn("ObjectLockRetainUntilDate", s3.head_object(Bucket="lab", Key="a"))
            for refused in (
                lambda: s3.delete_object(Bucket="lab", Key="a"),
                lambda: s3.put_object(Bucket="lab", Key="a", Body=b"2"),
                lambda: s3.copy_object(Bucket="lab", Key="a", CopySource="lab/a"),
            ):
                with self.refused("AccessDenied", 403):
                    refused()
            server.ask("/_clock?advance_ms=3600001", {})
            s3.delete_object(Bucket="lab", Key="a")
            self.assertEqual(keys(s3), [])

    def test_a_store_that_ignores_conditions_overwrites(self):
        with Server("--ignore-conditions") as server:
            s3 = server.client()
            for data in (b"1", b"2"):
                s3.put_object(Bucket="lab", Key="a", Body=data, IfNoneMatch="*")
            self.assertEqual(body(s3, "a"), b"2")


class Faults(Case):
    def setUp(self):
        server = Server()
        self.addCleanup(server.__exit__)
        self.server, self.s3 = server, server.client()

    def fault(self, fault, *operations, **more):
        self.server.faults({"fault": fault, "operations": list(operations), **more})

    def test_errors_come_before_or_after_the_write(self):
        self.fault({"error": {"code": "SlowDown", "status": 503}}, "PutObject", times=1)
        with self.refused("SlowDown", 503):
            self.s3.put_object(Bucket="lab", Key="a", Body=b"1")
        self.assertEqual(keys(self.s3), [])
        self.s3.put_object(Bucket="lab", Key="a", Body=b"1")
        self.fault({"error": {"code": "InternalError", "status": 500, "after": True}}, "PutObject")
        with self.refused("InternalError", 500):
            self.s3.put_object(Bucket="lab", Key="b", Body=b"1")
        self.assertEqual(keys(self.s3), ["a", "b"])
        # A client that tries again after that finds its own object there.
        self.fault({"error": {"code": "InternalError", "status": 500, "after": True}}, "PutObject", times=1)
        with self.refused("PreconditionFailed", 412):
            self.server.client(attempts=3).put_object(Bucket="lab", Key="c", Body=b"1", IfNoneMatch="*")

    def test_connections_are_reset_before_or_after_the_write(self):
        for after, found in ((False, []), (True, ["a"])):
            self.fault({"reset": {"after": after}}, "PutObject")
            with self.assertRaises(botocore.exceptions.ConnectionClosedError):
                self.s3.put_object(Bucket="lab", Key="a", Body=bytes(100_000))
            self.assertEqual(keys(self.s3), found)

    def test_an_answer_that_never_comes_is_a_time_out(self):
        for after, found in ((False, []), (True, ["a"])):
            self.fault({"hang": {"after": after}}, "PutObject")
            with self.assertRaises(botocore.exceptions.ReadTimeoutError):
                self.server.client(read_timeout=0.5).put_object(Bucket="lab", Key="a", Body=b"1")
            self.assertEqual(keys(self.s3), found)

    def test_bodies_end_too_early_or_have_another_length(self):
        data = os.urandom(500_000)
        self.s3.put_object(Bucket="lab", Key="a", Body=data)
        incomplete = (botocore.exceptions.ResponseStreamingError, botocore.exceptions.IncompleteReadError)
        for fault in ({"truncate": {"bytes": 1000}}, {"truncate": {"bytes": 0}}, {"length": {"add": 10}}):
            self.fault(fault, "GetObject")
            with self.assertRaises(incomplete, msg=fault):
                body(self.s3, "a")
        self.fault({"length": {"add": -10}}, "GetObject")
        self.assertEqual(body(self.s3, "a"), data[:-10])
        self.fault({"length": {"add": 7}}, "HeadObject")
        self.assertEqual(self.s3.head_object(Bucket="lab", Key="a")["ContentLength"], len(data) + 7)

    def test_a_stale_list_lacks_the_newest_changes(self):
        for name in "abc":
            self.s3.put_object(Bucket="lab", Key=name, Body=b"")
        self.s3.delete_object(Bucket="lab", Key="a")
        self.fault({"stale_list": {"changes": 2}}, "ListObjectsV2", times=1)
        self.assertEqual(keys(self.s3), ["a", "b"])
        self.assertEqual(keys(self.s3), ["b", "c"])

    def test_the_log_has_what_was_asked_and_what_it_cost(self):
        self.s3.put_object(Bucket="lab", Key="k/a", Body=bytes(1000))
        self.server.ask("/_reset", {})
        body(self.s3, "k/a", Range="bytes=0-9")
        with self.refused("NoSuchKey"):
            body(self.s3, "k/b")
        keys(self.s3, Prefix="k/")
        calls = self.server.ask("/_log")
        self.assertEqual(
            [(call["operation"], call["key"], call["status"], call["access"]) for call in calls],
            [("GetObject", "k/a", 206, "test"), ("GetObject", "k/b", 404, "test"), ("ListObjectsV2", "k/", 200, "test")],
        )
        self.assertEqual((calls[0]["bytes_down"], calls[0]["range"]), (10, "bytes=0-9"))
        sums = self.server.ask("/_counters")
        self.assertEqual((sums["requests"], sums["connections"], sums["operations"]["GetObject"]), (3, 0, 2))
        self.assertGreater(sums["wire_down"], sums["bytes_down"])


class Directory(Case):
    def test_large_bodies_are_in_files_and_go_with_their_objects(self):
        with tempfile.TemporaryDirectory() as home:
            log = os.path.join(home, "log")
            with Server("--dir", home, "--log", log) as server:
                s3 = server.client()
                data = os.urandom(3 << 20)
                s3.put_object(Bucket="lab", Key="big", Body=data)
                s3.put_object(Bucket="lab", Key="small", Body=b"1")
                [bodies] = [name for name in os.listdir(home) if name.startswith("s3-double-")]
                bodies = os.path.join(home, bodies)
                self.assertEqual([os.stat(os.path.join(bodies, name)).st_size for name in os.listdir(bodies)], [len(data)])
                self.assertEqual(body(s3, "big"), data)
                self.assertEqual(body(s3, "big", Range="bytes=-1000000"), data[-1000000:])
                s3.put_object(Bucket="lab", Key="big", Body=b"2")
                self.assertEqual(os.listdir(bodies), [])
            self.assertFalse(os.path.exists(bodies))
            with open(log, encoding="utf-8") as lines:
                operations = sorted(json.loads(line)["operation"] for line in lines)
            self.assertEqual(operations, ["GetObject"] * 2 + ["PutObject"] * 3)


if __name__ == "__main__":
    unittest.main()
