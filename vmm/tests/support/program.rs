//! 32-bit guest programs that drive a virtio function, as lists of writes.

/// Configuration space of device 1, which is the first that is not the host bridge.
pub const CONFIG: u32 = 0xe000_8000;
/// BAR 0 of it: the first address of the 32-bit window.
pub const BAR: u32 = 0xc000_0000;
/// Rings and buffers of the guest.
pub const DESCRIPTORS: u32 = 0x20_0000;
pub const AVAILABLE: u32 = 0x20_1000;
pub const USED: u32 = 0x20_2000;
pub const BUFFER: u32 = 0x20_3000;
const IDT: u32 = 0x20_4000;
const GDT: u32 = 0x20_5000;
const POINTER: u32 = 0x20_6000;
/// Where the program begins.
const START: u32 = 0x10_0000;
/// Vector of the queue's interrupt.
const VECTOR: u32 = 0x40;
const LAPIC: u32 = 0xfee0_0000;

/// Machine code under construction.
#[derive(Default)]
pub struct Program {
    code: Vec<u8>,
    /// Places of the driven device behind device 1.
    place: u32,
}

impl Program {
    /// A program that drives the device that is `place` places behind device 1.
    pub fn at(place: u32) -> Self {
        Self {
            code: Vec::new(),
            place,
        }
    }

    pub fn code(self) -> Vec<u8> {
        self.code
    }

    fn config(&self) -> u32 {
        CONFIG + self.place * 0x8000
    }

    /// BAR 0 of the driven device.
    pub fn bar(&self) -> u32 {
        BAR + self.place * 0x8000
    }

    pub fn raw(&mut self, bytes: &[u8]) {
        self.code.extend(bytes);
    }

    /// `mov byte [address], value`
    pub fn byte(&mut self, address: u32, value: u8) {
        self.raw(&[0xc6, 0x05]);
        self.raw(&address.to_le_bytes());
        self.raw(&[value]);
    }

    /// `mov word [address], value`
    pub fn word(&mut self, address: u32, value: u16) {
        self.raw(&[0x66, 0xc7, 0x05]);
        self.raw(&address.to_le_bytes());
        self.raw(&value.to_le_bytes());
    }

    /// `mov dword [address], value`
    pub fn dword(&mut self, address: u32, value: u32) {
        self.raw(&[0xc7, 0x05]);
        self.raw(&address.to_le_bytes());
        self.raw(&value.to_le_bytes());
    }

    /// Prints a letter.
    pub fn print(&mut self, letter: u8) {
        self.raw(&[0x66, 0xba, 0xf8, 0x03, 0xb0, letter, 0xee]);
    }

    /// Prints the byte at `address`.
    pub fn show(&mut self, address: u32) {
        self.raw(&[0xa0]);
        self.raw(&address.to_le_bytes());
        self.raw(&[0x66, 0xba, 0xf8, 0x03, 0xee]);
    }

    /// Prints EAX to EDX of a leaf of CPUID, 16 bytes.
    pub fn cpuid(&mut self, leaf: u32, index: u32) {
        self.raw(&[0xb8]); // mov eax
        self.raw(&leaf.to_le_bytes());
        self.raw(&[0xb9]); // mov ecx
        self.raw(&index.to_le_bytes());
        self.raw(&[0x0f, 0xa2]);
        for (register, opcode) in [0x05, 0x1d, 0x0d, 0x15].into_iter().enumerate() {
            self.raw(&[0x89, opcode]); // mov [BUFFER + 4 * register], register
            self.raw(&(BUFFER + 4 * u32::try_from(register).unwrap()).to_le_bytes());
        }
        (BUFFER..BUFFER + 16).for_each(|address| self.show(address));
    }

    /// Switches the machine off.
    pub fn power_off(&mut self) {
        self.raw(&[0x66, 0xba, 0x00, 0x06, 0xb0, 0x34, 0xee, 0xf4]);
    }

    /// Segments, an interrupt handler that prints `I`, and a local APIC that takes interrupts.
    pub fn take_interrupts(&mut self) {
        for (index, word) in [0, 0, 0, 0, 0xffff, 0x00cf_9a00, 0xffff, 0x00cf_9200]
            .iter()
            .enumerate()
        {
            self.dword(GDT + u32::try_from(index * 4).unwrap(), *word);
        }
        self.word(POINTER, 31);
        self.dword(POINTER + 2, GDT);
        self.raw(&[0x0f, 0x01, 0x15]); // lgdt
        self.raw(&POINTER.to_le_bytes());
        self.raw(&[0xbc]); // mov esp
        self.raw(&0x20_8000u32.to_le_bytes());
        // The handler, jumped over.
        let mut handler = Self::default();
        handler.raw(&[0x60]); // pusha
        handler.print(b'I');
        handler.dword(LAPIC + 0xb0, 0);
        // Back without iret, which not every KVM emulates, and with interrupts off.
        handler.raw(&[0x61, 0xc2, 8, 0]); // popa, ret 8
        self.raw(&[0xeb, u8::try_from(handler.code.len()).unwrap()]);
        let address = START + u32::try_from(self.code.len()).unwrap();
        self.raw(&handler.code);
        self.dword(IDT + VECTOR * 8, 0x10 << 16 | (address & 0xffff));
        self.dword(IDT + VECTOR * 8 + 4, (address & 0xffff_0000) | 0x8e00);
        self.word(POINTER, 0x7ff);
        self.dword(POINTER + 2, IDT);
        self.raw(&[0x0f, 0x01, 0x1d]); // lidt
        self.raw(&POINTER.to_le_bytes());
        self.dword(LAPIC + 0xf0, 0x1ff);
    }

    /// Brings the function to DRIVER_OK with queue 0, whose interrupts it lets come.
    pub fn start_device(&mut self) {
        self.start_device_with(1);
    }

    /// The same with `queues`, of which the last is the one that is used; the others are empty.
    pub fn start_device_with(&mut self, queues: u16) {
        self.word(self.config() + 4, 6);
        self.word(self.config() + 0x42, 0xc000);
        self.dword(self.bar() + 0x3010, LAPIC);
        self.dword(self.bar() + 0x3014, 0);
        self.dword(self.bar() + 0x3018, VECTOR);
        self.dword(self.bar() + 0x301c, 0);
        self.word(self.config() + 0x42, 0x8000);
        for status in [0, 1, 3] {
            self.byte(self.bar() + 20, status);
        }
        self.dword(self.bar() + 8, 1);
        self.dword(self.bar() + 12, 1);
        self.byte(self.bar() + 20, 11);
        for queue in 0..queues {
            let elsewhere = u32::from(queues - 1 - queue) * 0x1_0000;
            self.word(self.bar() + 22, queue);
            self.word(self.bar() + 24, 64);
            self.word(self.bar() + 26, 1);
            for (offset, address) in [(32, DESCRIPTORS), (40, AVAILABLE), (48, USED)] {
                self.dword(self.bar() + offset, address + elsewhere);
                self.dword(self.bar() + offset + 4, 0);
            }
            self.word(self.bar() + 28, 1);
        }
        self.byte(self.bar() + 20, 15);
    }

    /// Descriptor `index`.
    pub fn describe(&mut self, index: u32, address: u32, len: u32, flags: u16, next: u16) {
        let at = DESCRIPTORS + index * 16;
        self.dword(at, address);
        self.dword(at + 4, 0);
        self.dword(at + 8, len);
        self.dword(at + 12, u32::from(flags) | u32::from(next) << 16);
    }

    /// Waits until the word at `address` is not zero.
    pub fn poll(&mut self, address: u32) {
        self.raw(&[0x66, 0x83, 0x3d]); // cmp word [address], 0
        self.raw(&address.to_le_bytes());
        self.raw(&[0, 0x74, 0xf6]); // je
    }

    /// Offers the chain at descriptor 0, and waits for the interrupt of its end.
    pub fn submit_and_wait(&mut self) {
        self.submit_to_and_wait(0);
    }

    /// The same for the queue of this number.
    pub fn submit_to_and_wait(&mut self, queue: u16) {
        self.word(AVAILABLE + 4, 0);
        self.word(AVAILABLE + 2, 1);
        self.word(self.bar() + 0x5000 + u32::from(queue) * 4, queue);
        // An interrupt before the halt would be missed but for the one instruction of delay that sti has.
        self.raw(&[0xfb, 0xf4, 0xfa]); // sti, hlt, cli
    }
}
