//! The layered graph of nodes that do nothing, the one that every peer was measured with.

/// Nodes of one layer.
const WIDTH: usize = 100;

/// The nodes that node `number` needs: three of the layer before. A closed form, so that every program makes the same graph.
pub fn needs(number: usize) -> impl Iterator<Item = usize> {
    let (layer, column) = (number / WIDTH, number % WIDTH);
    let columns = [column, (column + 1 + (7 * layer) % 49) % WIDTH, (column + 51 + (3 * layer) % 49) % WIDTH];
    columns.into_iter().filter(move |_| layer > 0).map(move |column| layer.saturating_sub(1) * WIDTH + column)
}

/// A pipeline of so many nodes of `std:noop` along this graph.
pub fn pipeline(nodes: usize) -> String {
    (0..nodes).fold("schema = 1\nname = \"noop\"\n".to_owned(), |text, number| {
        let after: Vec<_> = needs(number).map(|need| format!("\"n{need}\"")).collect();
        let after = after.join(", ");
        text + &format!(
            "[[stage]]\nid = \"n{number}\"\nplugin = \"std:noop\"\nconfig = {{ n = {number} }}\nafter = [{after}]\n"
        )
    })
}
