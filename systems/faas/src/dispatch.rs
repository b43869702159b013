//! What service and workers say to each other: frames over a connection.
