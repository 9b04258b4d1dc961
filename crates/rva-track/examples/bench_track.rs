//! For `make bench NAME=track`: `bench_track TRACKER DET.txt …` prints for each file the frames and the seconds of the
//! processor that the tracker took; `bench_track crowd` prints the made-up crowd as such a file.

#[path = "../benches/scenes/mod.rs"]
mod scenes;

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.as_slice() {
        [word] if word == "crowd" => print_crowd(),
        [tracker, files @ ..] if !files.is_empty() => {
            for file in files {
                let scene = [scenes::read(file.as_ref())?];
                let frames = scene[0].len() as u64;
                let time = scenes::Player::new(tracker, &scene)?.play(frames)?;
                println!("{frames},{:.9}", time.as_secs_f64());
            }
        }
        found => return Err(format!("found {found:?}, wanted crowd, or a tracker and files of detections").into()),
    }
    Ok(())
}

fn print_crowd() {
    for (frame, detections) in scenes::crowd().iter().enumerate() {
        for detection in detections {
            let (bbox, conf) = (detection.bbox, detection.conf);
            println!("{},-1,{},{},{},{},{conf}", frame + 1, bbox.x1, bbox.y1, bbox.width(), bbox.height());
        }
    }
}
