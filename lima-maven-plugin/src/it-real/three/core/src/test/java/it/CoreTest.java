package it;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.net.InetAddress;
import org.junit.jupiter.api.Test;

class CoreTest {
    @Test
    void passes() throws Exception {
        System.out.println("on " + InetAddress.getLocalHost().getHostName());
        assertEquals(42, Core.answer());
    }
}
