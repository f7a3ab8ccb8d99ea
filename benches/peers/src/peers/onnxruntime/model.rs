//! Models of one node, written as protocol buffers: numbers and lengths are varints, everything else is bytes.

/// A message under construction; fields are numbered as in `onnx.proto`.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn number(mut self, field: u64, value: u64) -> Self {
        self.varint(field << 3);
        self.varint(value);
        self
    }

    fn bytes(mut self, field: u64, bytes: impl AsRef<[u8]>) -> Self {
        let bytes = bytes.as_ref();
        self.varint(field << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
        self
    }

    fn message(self, field: u64, message: Self) -> Self {
        self.bytes(field, message.0)
    }
}

/// Types of elements.
pub const FLOAT: u64 = 1;
pub const UINT8: u64 = 2;
pub const INT8: u64 = 3;
pub const INT32: u64 = 6;

/// A named tensor: an input or an output, or a constant with its bytes.
pub struct Tensor<'a> {
    pub name: &'a str,
    pub element: u64,
    pub sizes: &'a [usize],
    pub bytes: Vec<u8>,
}

impl Tensor<'_> {
    fn constant(&self) -> Message {
        let sizes = self.sizes.iter().fold(Message::default(), |message, size| message.number(1, *size as u64));
        sizes.number(2, self.element).bytes(8, self.name).bytes(9, &self.bytes)
    }

    fn declaration(&self) -> Message {
        let size = |size: &usize| Message::default().number(1, *size as u64);
        let shape = self.sizes.iter().fold(Message::default(), |shape, s| shape.message(1, size(s)));
        let tensor = Message::default().number(1, self.element).message(2, shape);
        Message::default().bytes(1, self.name).message(2, Message::default().message(1, tensor))
    }
}

/// One node.
pub struct Node<'a> {
    pub operator: &'a str,
    /// Inputs in the operator's order, constants among them.
    pub inputs: &'a [&'a str],
    pub variable: Tensor<'a>,
    pub constants: &'a [Tensor<'a>],
    pub output: Tensor<'a>,
}

impl Node<'_> {
    /// The model.
    pub fn model(&self) -> Vec<u8> {
        let node = self.inputs.iter().fold(Message::default(), |node, name| node.bytes(1, name));
        let node = node.bytes(2, self.output.name).bytes(4, self.operator);
        let graph = Message::default().message(1, node).bytes(2, "product");
        let graph = self.constants.iter().fold(graph, |graph, tensor| graph.message(5, tensor.constant()));
        let graph = graph.message(11, self.variable.declaration()).message(12, self.output.declaration());
        let operators = Message::default().bytes(1, "").number(2, 13);
        Message::default().number(1, 8).message(7, graph).message(8, operators).0
    }
}
