use crate::{cli::QueryArgs, exit::Exit};
use rva_service::Loaded;
/// People per minute.
pub const PEOPLE_PER_MINUTE: &str = "";
pub async fn run(_args: QueryArgs, _loaded: Loaded) -> anyhow::Result<Exit> {
    Ok(Exit::Done)
}
