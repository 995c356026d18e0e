//! The service that every variant wraps: the webstore's product list.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::serve::ListenerExt;
use tokio::net::TcpListener;
use webstore::Shop;

use crate::Result;
use crate::arguments::Serve;
use crate::process::answer_parent;

/// Serves until standard input ends. The first line of output is the address; every line of input is answered by
/// how many decisions were made without the store.
pub(crate) fn serve(serve: &Serve) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let shop = webstore::router(Arc::new(Shop::new()));
        let (service, fallbacks) = serve.variant.wrap(shop, serve)?;
        answer_parent(move || fallbacks().to_string());
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("{}", listener.local_addr()?);
        let listener = listener.tap_io(|stream| {
            // An option that cannot be set costs latency, and the run shows it.
            let _ = stream.set_nodelay(true);
        });
        let service = service.into_make_service_with_connect_info::<SocketAddr>();
        axum::serve(listener, service).await?;
        Ok(())
    })
}
