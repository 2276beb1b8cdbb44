"""The words by which names of columns and tables are understood, in several languages and as old systems shorten them.

Words are in small letters, without accents, and terms are joined by underscores, as ``names`` reads a name.
"""

from __future__ import annotations

from typing import Final

from transform.suggest.category import Category

# The words that end a name and make it speak about a thing instead of being it: phone_type, email_verified.
ABOUT: Final = frozenset(
    """type types kind status state format verified confirmed valid enabled count counts total provider brand locale
    lang language template version method mode category class level flag scheme country region timezone currency
    server preference preferences pref prefs promotion opt optin consent policy expiry expires expired attempts tries
    changed updated sent reset limit quota length size visibility visible source tier style id_type bounced color colour
    exists rate ratio score required strength day month year model plan""".split()
)

# Words that end the name of a reference to a thing: message_id is no message, while tax_id is a term of its own.
POINTERS: Final = frozenset("id ids uuid guid ref reference key no number nr num fk pk".split())

NUMBERS: Final = frozenset("no number nr num".split())
# What has a number for its value: the number of a message is no message, that of a telephone is all there is of it.
NUMBERED: Final = frozenset({Category.PHONE, Category.CARD, Category.ACCOUNT, Category.PERSONAL_NUMBER, Category.PLATE})
# Parts of a date.
PARTS: Final = frozenset("day month year".split())

# A "name" of one of these is no person's: file_name, table_name.
NAMED_THINGS: Final = frozenset(
    """file table column schema class event country currency language product item category brand model type role
    group plan field tag event action module package app application project room channel queue job task bucket index
    host domain network font color colour unit test drug feature store shop branch
    department dept course subject school template form report layer sku bank format page tenant team
    album track artist genre playlist media film movie song book territory shift culture process method
    reason""".split()
)

# In order: the first term whose words stand next to each other in the name decides.
TERMS: Final[tuple[tuple[Category, str], ...]] = (
    (
        Category.SECRET,
        """password passwd pwd pw pass passphrase secret token apikey api_key private_key secret_key access_key salt
        otp totp pin cvv cvc cvv2 csrf nonce jwt session_id sessionid session_key session_token cookie signature
        credential credentials passwort kennwort contrasena clave_acceso senha mot_de_passe mdp haslo wachtwoord
        recovery_code recovery_codes backup_code backup_codes webhook_key hashed_password password_hash
        security_answer security_question badge_uid sim_pin puk hashed_key
        parola sifre losenord kodeord lozinka access_code door_code gate_code entry_code alarm_code lock_code
        pin_code geheimzahl geheimnis zugangscode tuercode codigo_acceso codice_accesso code_acces digicode
        master_key encryption_key ciphertext upass pass_hash password_digest
        passcode door_passcode""",
    ),
    (Category.EMAIL, "email e_mail mail emails mailto correo courriel email_address mail_address correo_electronico"),
    (Category.USER_AGENT, "user_agent useragent ua browser_string http_user_agent"),
    (Category.MAC, "mac mac_address macaddr macaddress hw_address bssid ssid"),
    (
        Category.IP,
        """ip ip_address ipaddress ip_addr remote_addr remote_address client_ip ipv4 ipv6 inet_addr remote_ip
        ip_adresse client_addr""",
    ),
    (
        Category.CARD,
        """card_number cardnumber card_no credit_card creditcard cc_number ccnum pan kreditkarte card_last4 last4
        card_last_four last_four kreditkartennummer numero_tarjeta tarjeta carte_bancaire card_num
        kartennummer kartennr ultimos4 ultimos_4 ultimos_cuatro payment_card_number numero_carte numero_cartao
        numero_carta carta_credito cartao_credito kaartnummer numer_karty kortnummer card_bin""",
    ),
    (Category.IBAN, "iban bankverbindung"),
    (
        Category.PLATE,
        """license_plate licence_plate number_plate plate kennzeichen matricula immatriculation targa kenteken plaka
        placa placas nummernschild plaque registration_plate registration_mark vrm reg_plate rejestracyjny""",
    ),
    (
        Category.ACCOUNT,
        """account_number account_no bank_account routing_number sort_code konto kontonummer kontonr numero_cuenta
        numero_conta compte_bancaire blz bank_code aba acct_no acct_number stripe_customer_id
        bankkonto kontoverbindung rekeningnummer numero_konta conta_corrente conta_bancaria cuenta_bancaria
        cuenta_corriente conto_corrente koza_bango koza account_num rib hesap_no bankn customer_account
        cislo_uctu konto_bankowe""",
    ),
    (
        Category.PERSONAL_NUMBER,
        """ssn social_security national_id nationalid nationalidnumber national_insurance nino ni_number passport
        passport_number passport_no passport_nr id_card identity_number id_number document_number document_no
        document_nr dokumentnummer dokumentnr visa_number visa_no permit_number permit_no tax_id taxid tax_no
        tax_number vat_id vat_number vat_no tin ein cpf cnpj rg nif dni nie nir curp rfc siret steuernummer steuer_id
        steuerid ustid personalausweis ausweisnummer license_number licence_number driver_license driving_license
        driving_licence insurance_number policy_no policy_number policy_nr insurance_no medical_record mrn
        patient_number loyalty_number membership_number member_number member_no badge_number staff_number
        employee_number personnel_number personalnummer matrikelnummer sozialversicherungsnummer svnr codice_fiscale
        pesel bsn vin imei imsi iccid device_serial mynumber my_number kundennummer customer_number
        steuernr ausweis ausweisnr ausweis_nr reisepass fuehrerschein fuhrerschein passeport pasaporte passaporte
        sozialversicherungsnr rentenversicherungsnr steueridnr krankenkassennr versichertennr
        kundennr kdnr personalnr versicherungsnr mitgliedsnr mitgliedsnummer sv_nummer id_no customer_no client_no
        patient_no employee_no student_no staff_no personnel_no provider_uid provider_user_id oauth_id google_id
        facebook_id apple_id twitter_id github_id linkedin_id sso_id external_user_id
        versicherungsnummer policennummer numero_secu securite_sociale cedula aadhaar nhs nhs_number student_number
        license_no licence_no drivers_license fuehrerscheinnr fuehrerscheinnummer fuhrerscheinnummer fahrerlaubnis
        carnet_conducir permiso_conducir permis_conduire cnh rijbewijs prawo_jazdy patente licencia_conducir dowod
        dowodu identiteitskaart burgerservicenummer personnummer henkilotunnus cpr fodselsnummer kimlik kimlik_no
        carte_identite carta_identita numero_documento num_documento nuss seguridad_social pis pasep pis_pasep ctps
        titulo_eleitor matricola matricule kvnr krankenversicherungsnummer versichertennummer
        rentenversicherungsnummer known_traveler_number known_traveller_number frequent_flyer frequent_flyer_no
        redress_number gmc_no gmc_number npi npi_number bar_number library_card matricula_aluno zaehlernummer
        zaehlernr meter_number meter_no zaehlpunkt mpan vertragskonto carteirinha badge rfid fob_id
        rodne_cislo personnr tc_kimlik""",
    ),
    (
        Category.PHONE,
        """phone phones telephone tel mobile cell cellphone cell_phone phone_number mobile_number contact_number fax
        whatsapp msisdn telefon telefono handy telefone celular telefonnummer mobil portable rufnummer denwa
        telefoon cellulare telephone_number caller callee caller_id telefonnr telnr handynr faxnr
        電話 電話番号 携帯電話
        calling_number called_number dialed_number dialled_number callback_number caller_number durchwahl
        extension_no movil tlf telefoonnummer numero_telefono numero_telephone mobilnummer mobilnr puhelin
        telefonnumer komorka pager bleep keitai keitai_bango denwa_bango landline contact_no contact_tel gsm telf
        nr_tel""",
    ),
    (
        Category.FIRST_NAME,
        """first_name firstname fname f_name given_name given_names givenname forename forenames vorname vornamen
        rufname prenom prenoms nombre_pila primer_nombre middle_name middlename middle_initial nickname
        preferred_name first_nm voornaam imie primeiro_nome
        mei mei_kana fornavn fornamn etunimi prenom_usuel ufname firstnm forename_1 namae_mei first_initial
        jmeno krestni_jmeno voorletters""",
    ),
    (
        Category.LAST_NAME,
        """last_name lastname lname l_name surname family_name familyname nachname familienname apellido apellidos
        sobrenome nom_de_famille maiden_name geburtsname last_nm cognome achternaam nazwisko primer_apellido
        segundo_apellido nom_famille
        sei sei_kana myoji nom_usage soyad soyadi etternavn efternamn sukunimi apelido ulname
        prijmeni""",
    ),
    (
        Category.USERNAME,
        """username user_name login login_name login_id handle screen_name screenname nick benutzername usuario
        kuerzel kurzel twitter facebook instagram linkedin github skype telegram utilisateur utente usr_name uname
        created_by updated_by modified_by changed_by entered_by deleted_by assigned_to assignee imported_by uploaded_by
        submitted_by requested_by processed_by handled_by opened_by closed_by sent_by cancelled_by canceled_by
        verified_by checked_by booked_by recorded_by
        device_name computer_name initials iniciales initiales initialen timekeeper snapchat tiktok mastodon discord
        skype_name""",
    ),
    (
        Category.FULL_NAME,
        """full_name fullname full_nm display_name displayname real_name person_name guest_name customer_name
        client_name contact_name patient_name employee_name owner_name holder_name cardholder cardholder_name
        account_holder card_holder holder author_name sender_name recipient_name recipient user_full_name billing_name
        shipping_name bill_to_name ship_to_name ship_name emergency_contact manager_name doctor_name member_name
        participant_name nom_complet nombre_completo nome_completo next_of_kin kin signed_by consignee consignor
        booker_name driver_name physician attending_physician counterparty payee payer beneficiary reviewed_by
        approved_by edited_by_name created_by_name kontoinhaber inhaber ansprechpartner ansprechpartnerin titular
        氏名 名前
        shimei namae contact_person reviewer_name student_name teacher_name author_full_name versicherungsnehmer
        nome_titular destinataire titulaire beneficiario byline traveler_name traveller_name passenger_name bill_to
        ship_to sold_to attn
        auftraggeber empfaenger absender nadawca odbiorca ontvanger afzender expediteur remitente destinatario
        mittente remetente passenger pax pax_name lead_passenger guarantor witness bevollmaechtigter fahrzeughalter
        spouse_name koza_meigi meiginin tantosha nome_mae nome_pai mother_name father_name""",
    ),
    (
        Category.GENDER,
        """gender sex geschlecht sexo genre_personne seibetsu 性別 genero anrede salutation geslacht sexe plec sesso
        cinsiyet kjonn sukupuoli civilite tratamiento geschl civility
        kon pohlavi""",
    ),
    (
        Category.BIRTH,
        """birth birthday birthdate birth_date date_of_birth dob born geburtsdatum geburtstag gebdatum geburt
        fecha_nacimiento date_naissance data_nascimento data_nascita data_di_nascita nascimento nacimiento naissance
        geboortedatum geburtsjahr geb_jahr gebjahr yob jahrgang gebdat geb_dat geb_am yearofbirth dateofbirth 生年月日
        ano_nascimento annee_naissance death deathdate date_of_death died deceased deceased_at seinengappi
        geboorte geboortejaar urodzenia dogum dogum_tarihi fodelsedatum fodselsdato date_naiss fecha_nac data_nasc
        gbdat umur tanjobi syntymaaika
        narozeni datum_narozeni""",
    ),
    (
        Category.POSTCODE,
        """postcode post_code postal_code postalcode postal zip zipcode zip_code plz postleitzahl cep codigo_postal
        code_postal cap_code kod_pocztowy 郵便番号
        yubin_bango yubinbango cod_postal postnummer postinumero codigopostal cod_post
        psc postnr""",
    ),
    (
        Category.CITY,
        """city town locality suburb ciudad ville stadt ort wohnort cidade birthplace birth_place bairro poblacion
        localidad commune municipio citta woonplaats geburtsort place_of_birth miasto
        miejscowosc plaats shikuchoson municipality gemeente kommune localite lieu_naissance luogo_nascita sehir
        poststed
        mesto""",
    ),
    (
        Category.STREET,
        """street street_address address_line addressline line1 line2 line3 address1 address2 address3 addr1 addr2
        street1 street2 strasse str hausnummer calle rue rua house_number housenumber ship_address
        adresse_rue straat ulica apartment apt_no
        logradouro straatnaam huisnummer banchi cadde sokak gatuadress gateadresse gade strasse_hausnr nr_domu
        nr_mieszkania
        ulice""",
    ),
    (
        Category.ADDRESS,
        """address addr home_address adresse anschrift direccion domicilio endereco shipping_address billing_address
        indirizzo jusho location_address postal_address adres residence 住所""",
    ),
    (
        Category.SENSITIVE,
        """religion religious confession konfession faith ethnicity ethnic ethnie race diagnosis diagnoses diagnose
        diagnostico disability disabilities disabled behinderung blood blood_type blutgruppe medication medications
        allergy allergies allergien alergias health medical sexual sexual_orientation orientation political criminal
        marital marital_status marriage family_status familienstand civil_status estado_civil etat_civil smoker icd
        icd10 icd_code symptom symptoms anamnesis foerderbedarf special_needs union_member gesundheitsfragen
        gesundheit mediche pregnancy pregnant hiv hiv_status anamnese befund krankheit krankheiten erkrankung
        allergie raucher schwanger schwangerschaft partei political_party gewerkschaft trade_union union_membership
        medikament medikamente wheelchair rollstuhl konfessionell rasse ethnische_herkunft maladie enfermedad


        burgerlijke_staat stan_cywilny
        stato_civile situation_matrimoniale situation_familiale zivilstand medeni_hal civilstand religiao religione
        godsdienst wyznanie religia church denomination glaube shukyo raca raza raca_cor tribe caste indigenous
        etnia ancestry allergen allergens allergene vaccine vaccination impfung impfstatus impfstoff vacuna vacina
        vaccin diagnostic shindan shindanmei byomei byoreki enfermedades doenca malattia ziekte choroba handicap
        disabilita discapacidad deficiencia niepelnosprawnosc snomed snomed_ct icd9 icd_10 cid cie10 prognosis
        dietary diet dieta regime_alimentaire regime_special food_intolerance special_meal alcohol tobacco fumeur
        fumador fumante kitsuen smoking tipo_sanguineo grupo_sanguineo gruppo_sanguigno groupe_sanguin bloedgroep
        grupa_krwi ketsuekigata suicide self_harm addiction psychiatric mental_health phq9 gad7 sexuality
        dating_preference interested_in party_vote voted_for party_affiliation political_views sindicato sindical
        sindicalizado filiado syndicat sindacato vakbond asylum refugee immigration_status visa_status
        criminal_record background_check crb_check dbs_check police_check conviction convictions vorstrafen
        casier_judiciaire antecedentes pep
        invalidita tani teshis hastalik diagnoza voter_party krankenkasse health_insurer bijstand welfare""",
    ),
    (
        Category.PICTURE,
        """avatar avatar_url avatar_path photo photo_url photo_path picture picture_url profile_image selfie portrait
        scan image image_url foto bild thumbnail thumbnail_photo large_photo cv_file resume cv lebenslauf
        fingerprint_image""",
    ),
    (Category.URL, "url website homepage web_site webseite site_web linkedin_url link target_url profile_url"),
    (
        Category.INCOME,
        """salary wage wages income net_worth credit_score gehalt lohn salario salaire bonus pay pay_rate hourly_rate
        compensation overdraft balance saldo kontostand solde iq debt commission commission_pct
        sueldo sueldo_bruto sueldo_neto einkommen nettoeinkommen bruttoeinkommen nettogehalt bruttogehalt
        jahresgehalt monatsgehalt verguetung renda revenu revenus revenu_fiscal quotient_familial ingresos reddito
        stipendio salaris inkomen wynagrodzenie pensja dochod gelir inkomst remuneration remuneracao vencimento
        vencimentos salary_expectation pretensao_salarial gehaltswunsch wealth wealth_rating dispo dispokredit
        bonitaet schufa schufa_score fico fico_score credit_rating kyuyo nenshu gekkyu comm balance_amount
        bal_amount income_band
        credit_limit kreditlimit schuld schulden debts deuda divida debito""",
    ),
    (Category.LATITUDE, "latitude lat breitengrad latitud"),
    (Category.LONGITUDE, "longitude lng lon long laengengrad longitud"),
    (Category.POSITION, "geo gps geolocation coordinates coords latlng lat_lng location_point home_location"),
    (
        Category.MEASURE,
        """height weight age bmi alter peso altura edad poids taille groesse gewicht waist body_weight body_height pulse
        resting_pulse puls heart_rate herzfrequenz blood_pressure blutdruck systolic diastolic glucose cholesterol
        shincho taiju estatura altezza wzrost waga koerpergroesse koerpergewicht body_fat idade leeftijd wiek nenrei
        nb_enfants nombre_enfants numero_hijos anzahl_kinder kinderzahl num_children number_of_children blood_sugar
        spo2 respiratory_rate
        kinderanzahl kinder_anzahl""",
    ),
    (
        Category.COMPANY,
        """company_name company companyname organisation organization org employer firma firmenname empresa
        razao_social societe azienda bedrijf arbeitgeber razon_social""",
    ),
    (Category.QUERY, "client_query sql_statement statement sql_text query_text sql_query query"),
    (
        Category.FREE_TEXT,
        """note notes comment comments body message messages text txt bio biography about remark
        remarks feedback review reviews transcript subject reason request requests special_requests wish wishes
        instructions memo answer question reply notiz notizen bemerkung bemerkungen kommentar comentario comentarios
        nota notas observacoes observaciones commentaire commentaires remarque snippet purpose cv_text
        interpretation complaint narrative special_wishes signature_html greeting letter mensagem mensaje nachricht
        next_step error_message last_error freitext wunsch wuensche sonderwunsch betreff 備考 メモ""",
    ),
    (
        Category.DESCRIPTION,
        """description descripcion beschreibung descricao descrizione summary caption headline tagline criteria
        excerpt meta_description meta_title synopsis short_description long_description content html abstract
        blurb details""",
    ),
    (Category.REGION, "region district state province county bundesland provincia estado departement provincie kanton"),
    (Category.NAME, "name label nombre nom nome naam nm namen bezeichnung designation names"),
    (
        Category.PLAIN,
        """status type kind category code slug currency locale language lang timezone time_zone tz country version level
        priority channel color colour unit format extension mime action event operation schema table mode
        method stage phase plan tier size role sku checksum digest etag sha git_sha hash_of material
        dimensions path permalink isbn ean upc barcode codigo_barras bar_code lot lot_number batch model
        firmware rate_plan product_code brand tags tag scopes scope events bic swift swift_code carrier
        tracking_number tracking awb icon position_code cost_center cost_centre rating job_title jobtitle
        title_of_courtesy honorific mime_type cron situacao klasse fach unit_of_measure number order_no
        order_number part_no part_number serial serial_no drug strength genre rating media_type fulltext
        suffix estado_pedido department  desk desk_location voucher coupon confirmation_code atc_code
        test_code hs_code inn_name specimen_barcode section shelf bin warehouse request_id correlation_id
        trace_id span_id target_id object_id entity_id resource_id event_id e2e_ref mcc ward location_code
        room room_number table_name file_name quantity quantity_per_unit title salutation_code""",
    ),
)
# What old systems shorten, so that eight or eighteen letters are enough.
IN_FULL: Final = {
    "nbr": "number",
    "doc": "document",
    "nm": "name",
    "frst": "first",
    "lst": "last",
    "cust": "customer",
    "emp": "employee",
    "acct": "account",
    "pymt": "payment",
    "cty": "city",
    "sal": "salary",
    "addr": "address",
    "adr": "address",
    "amt": "amount",
    "usr": "user",
    "mob": "mobile",
    "subscr": "subscriber",
}
PEOPLE: Final = frozenset(
    """guest customer client user person people patient employee staff member contact participant subscriber student
    teacher author owner passenger driver tenant lead applicant candidate account profile visitor resident citizen
    traveller traveler attendee voter donor child children parent spouse worker doctor nurse host signup borrower
    cardholder physician trainer player recipient sender reviewer holder individual personnel pupil learner tutor
    kunde kunden mitarbeiter gast gaeste persona personas cliente usuario personne utilisateur pessoa schueler schuler
    lehrer patienten alumno alumnos empleado empleados funcionario aluno eleve eleves salarie dipendente klant
    medewerker kokyaku shain musteri klient buyer seller agent partner invitee friend follower""".split()
)
# What ends the name of a table that lists things, whatever stands before it: customer_types, film_actor.
THINGS: Final = frozenset(
    """type role status category plan product item good article film movie album track artist genre room rooms seat
    feature flag badge setting config option permission group template brand model sku price pricing season currency
    country region territory state province city language locale unit measure department shift culture location
    warehouse store inventory stock device sensor reading metric part component vehicle drug test course subject
    lookup migration version job queue tag topic menu ingredient recipe playlist media mediatype station route
    produkt produto producto productos produkte artikel catalogue catalog kategorie categoria categories offer reason
    illustration bill material work routing scrap actor game song book page faq tariff rate demographics shipper
    supplier_type shippers method""".split()
)


# What ends a compound of a language that writes them together, whatever begins it: Lieferadresse.
HEADS: Final = ("adresse", "anschrift", "strasse", "telefon", "telefonnummer", "handynummer", "geburtsdatum")
# Words that say nothing, but part those that do.
FILLING: Final = frozenset(
    "history header sales detail order orders purchase date info data change hire line entity business has card".split()
)
