#!/usr/bin/python3
"""An RTSP server on 127.0.0.1 (GStreamer's gst-rtsp-server) whose pictures ffmpeg makes: for tests and soak runs.

    infrastructure/local/rtsp_server.py --port 8554 --auth digest --user u --password p door=data/cache/vtest.avi test=test

Each NAME=SOURCE is served as H.264 at rtsp://127.0.0.1:PORT/NAME, without an end and at its own speed, to any number of
clients. SOURCE is a video file, which is repeated; `test` or `test:WIDTHxHEIGHT@FPS` for moving pictures; or several of
the latter with seconds, `test:320x240@10:3,640x480@10`: each for that long, then the next, the last for ever.
The first line of stdout is `ready PORT`: with `--port 0` a free one is taken. It ends on SIGTERM, on SIGINT, and with
`--until-stdin-closes` when whoever holds its stdin is gone. It needs Debian's gir1.2-gst-rtsp-server-1.0, python3-gi,
gstreamer1.0-plugins-base, gstreamer1.0-plugins-good and ffmpeg.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import threading

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import Gio, GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402

ENCODER = [
    "-an",
    "-c:v",
    "libx264",
    "-preset",
    "ultrafast",
    "-tune",
    "zerolatency",
    "-threads",
    "1",
    "-pix_fmt",
    "yuv420p",
]
# A key picture at least twice a second: clients that come later need one.
KEY_PICTURES = ["-force_key_frames", "expr:gte(t,n_forced*0.5)"]


def ffmpeg_commands(source: str) -> list[list[str]]:
    """One command for each part; each writes Annex B H.264 with its parameter sets before every key picture."""
    start = ["ffmpeg", "-v", "error", "-nostdin", "-re"]
    end = [*ENCODER, *KEY_PICTURES, "-f", "h264", "pipe:1"]
    if source != "test" and not source.startswith("test:"):
        if not os.path.isfile(source):
            sys.exit(f"rtsp_server: found no file {source}, wanted a video or test:WIDTHxHEIGHT@FPS")
        return [[*start, "-stream_loop", "-1", "-i", source, *end]]
    commands = []
    for part in source.removeprefix("test").removeprefix(":").split(","):
        shape, _, seconds = part.partition(":")
        size, _, fps = (shape or "320x240@10").partition("@")
        duration = f":duration={seconds}" if seconds else ""
        commands.append([*start, "-f", "lavfi", "-i", f"testsrc2=size={size}:rate={fps}{duration}", *end])
    return commands


class Factory(GstRtspServer.RTSPMediaFactory):
    """Media of one NAME: a pipe from ffmpeg, shared by all who watch."""

    def __init__(self, source: str):
        super().__init__()
        self.commands = ffmpeg_commands(source)
        self.set_shared(True)

    def do_create_element(self, _url):
        reader, writer = os.pipe()
        threading.Thread(target=self.feed, args=(writer,), daemon=True).start()
        # Stamped when it arrives: a live source. h264parse (of plugins-bad, which the server library brings) makes pictures of bytes.
        return Gst.parse_launch(
            f"( fdsrc fd={reader} do-timestamp=true ! queue ! h264parse config-interval=-1 ! rtph264pay name=pay0 pt=96 )"
        )

    def feed(self, writer: int):
        for command in self.commands:
            # It ends by itself when nobody reads any more: SIGPIPE, since Python's own setting isn't inherited.
            subprocess.run(command, stdout=writer, stdin=subprocess.DEVNULL, restore_signals=True, check=False)
        os.close(writer)


def auth(method: str, user: str, password: str) -> GstRtspServer.RTSPAuth:
    checker = GstRtspServer.RTSPAuth()
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", "viewer")
    if method == "basic":
        checker.set_supported_methods(GstRtsp.RTSPAuthMethod.BASIC)
        checker.add_basic(GstRtspServer.RTSPAuth.make_basic(user, password), token)
    else:
        checker.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
        checker.add_digest(user, password, token)
    return checker


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", default="0", help="0 takes a free one")
    parser.add_argument("--auth", choices=["none", "basic", "digest"], default="none")
    parser.add_argument("--user", default="user")
    parser.add_argument("--password", default="password")
    parser.add_argument("--tls-certificate", help="a PEM file with certificate and key: rtsps://")
    parser.add_argument("--until-stdin-closes", action="store_true")
    parser.add_argument("media", nargs="+", metavar="NAME=SOURCE")
    options = parser.parse_args()
    if shutil.which("ffmpeg") is None:
        sys.exit("rtsp_server: found no ffmpeg on PATH, wanted one that makes the pictures")

    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(options.port)
    if options.auth != "none" or options.tls_certificate:
        checker = (
            auth(options.auth, options.user, options.password) if options.auth != "none" else GstRtspServer.RTSPAuth()
        )
        if options.tls_certificate:
            checker.set_tls_certificate(Gio.TlsCertificate.new_from_file(options.tls_certificate))
        server.set_auth(checker)
    for entry in options.media:
        name, _, source = entry.partition("=")
        factory = Factory(source or "test")
        if options.auth != "none":
            allowed = GstRtspServer.RTSPPermissions()
            allowed.add_permission_for_role("viewer", "media.factory.access", True)
            allowed.add_permission_for_role("viewer", "media.factory.construct", True)
            factory.set_permissions(allowed)
        server.get_mount_points().add_factory("/" + name, factory)
    if server.attach(None) == 0:
        sys.exit(f"rtsp_server: can't listen on 127.0.0.1:{options.port}, wanted a port that is free")

    loop = GLib.MainLoop()
    for number in (signal.SIGTERM, signal.SIGINT):
        GLib.unix_signal_add(GLib.PRIORITY_DEFAULT, number, loop.quit)
    # Sessions of clients that are gone without a word.
    GLib.timeout_add_seconds(2, lambda: server.get_session_pool().cleanup() >= 0)
    if options.until_stdin_closes:
        threading.Thread(target=lambda: (sys.stdin.buffer.read(), loop.quit()), daemon=True).start()
    print(f"ready {server.get_bound_port()}", flush=True)
    loop.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
