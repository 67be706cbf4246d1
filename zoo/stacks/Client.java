import java.io.*;
import java.net.*;
import java.nio.charset.StandardCharsets;
import java.nio.file.*;
import java.security.*;
import java.security.cert.*;
import java.util.*;
import javax.net.ssl.*;

/**
 * Handshakes with Java's JSSE; one JSON line an event on standard output. Arguments: certificate file of the root, TLS
 * version, gap and timeout in ms, resume or fresh, then one ADDRESS,PORT[,STAGE=MS] a handshake; stages: hello, verify.
 */
public class Client {
    static void say(String line) { synchronized (System.out) { System.out.println(line); System.out.flush(); } }
    static double now() { return System.currentTimeMillis() / 1e3; }

    static void stall(int port, String stage, double ms) {
        double t = now();
        try { Thread.sleep((long) ms); } catch (InterruptedException e) { return; }
        say(String.format(Locale.ROOT, "{\"ev\":\"stall\",\"stage\":\"%s\",\"ms\":%.1f,\"t\":%.6f,\"t_end\":%.6f,\"port\":%d}", stage, ms, t, now(), port));
    }

    static double verify = 0;
    static int local = 0;

    public static void main(String[] a) throws Exception {
        KeyStore store = KeyStore.getInstance(KeyStore.getDefaultType());
        store.load(null, null);
        try (InputStream in = Files.newInputStream(Path.of(a[0]))) {
            store.setCertificateEntry("root", CertificateFactory.getInstance("X.509").generateCertificate(in));
        }
        TrustManagerFactory factory = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        factory.init(store);
        X509ExtendedTrustManager real = (X509ExtendedTrustManager) factory.getTrustManagers()[0];
        X509ExtendedTrustManager slow = new X509ExtendedTrustManager() {
            void late() { if (verify > 0) stall(local, "verify", verify); }
            public void checkClientTrusted(X509Certificate[] c, String s) {}
            public void checkClientTrusted(X509Certificate[] c, String s, Socket k) {}
            public void checkClientTrusted(X509Certificate[] c, String s, SSLEngine e) {}
            public void checkServerTrusted(X509Certificate[] c, String s) throws CertificateException { real.checkServerTrusted(c, s); late(); }
            public void checkServerTrusted(X509Certificate[] c, String s, Socket k) throws CertificateException { real.checkServerTrusted(c, s, k); late(); }
            public void checkServerTrusted(X509Certificate[] c, String s, SSLEngine e) throws CertificateException { real.checkServerTrusted(c, s, e); late(); }
            public X509Certificate[] getAcceptedIssuers() { return real.getAcceptedIssuers(); }
        };
        boolean resume = a[4].equals("resume");
        SSLContext shared = null;
        for (int i = 5; i < a.length; i++) {
            if (shared == null || !resume) {
                shared = SSLContext.getInstance("TLS");
                shared.init(null, new TrustManager[] { slow }, null);
            }
            String[] parts = a[i].split(",");
            double hello = 0;
            verify = 0;
            for (int k = 2; k < parts.length; k++) {
                double ms = Double.parseDouble(parts[k].split("=")[1]);
                if (parts[k].startsWith("hello=")) hello = ms; else verify = ms;
            }
            String error = null;
            try (Socket plain = new Socket()) {
                plain.setSoTimeout(Integer.parseInt(a[3]));
                plain.setTcpNoDelay(true);
                plain.bind(new InetSocketAddress(parts[0].contains(":") ? "::" : "0.0.0.0", 0));
                local = plain.getLocalPort();
                plain.connect(new InetSocketAddress(InetAddress.getByName(parts[0]), Integer.parseInt(parts[1])), Integer.parseInt(a[3]));
                if (hello > 0) stall(local, "hello", hello);
                SSLSocket tls = (SSLSocket) shared.getSocketFactory().createSocket(plain, "lab.test", 443, true);
                tls.setEnabledProtocols(a[1].equals("1.2") ? new String[] { "TLSv1.2" } : new String[] { "TLSv1.3", "TLSv1.2" });
                tls.startHandshake();
                tls.getOutputStream().write("GET / HTTP/1.1\r\nHost: lab.test\r\nConnection: close\r\n\r\n".getBytes(StandardCharsets.US_ASCII));
                byte[] buffer = new byte[4096];
                InputStream in = tls.getInputStream();
                while (in.read(buffer) > 0) {}
                tls.close();
            } catch (IOException e) {
                error = e.getClass().getSimpleName();
            }
            say(String.format(Locale.ROOT, "{\"ev\":\"done\",\"ok\":%b,\"error\":%s,\"port\":%d,\"t\":%.6f}", error == null, error == null ? "null" : "\"" + error + "\"", local, now()));
            Thread.sleep((long) Double.parseDouble(a[2]));
        }
    }
}
