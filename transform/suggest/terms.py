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
# What a name ends in that is a name itself.
NAMES: Final = frozenset(
    "name names namen nombre nombres nom nome nomi naam nazwa navn namn nimi nume nev jmeno ime".split()
)
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
        otp totp pin cvv cvc cvv2 csrf nonce jwt session_id sessionid session_key session_token cookie
        signature credential credentials passwort kennwort contrasena clave_acceso senha mot_de_passe mdp
        haslo wachtwoord recovery_code recovery_codes backup_code backup_codes webhook_key
        hashed_password password_hash security_answer security_question badge_uid sim_pin puk hashed_key
        parola sifre losenord kodeord lozinka access_code door_code gate_code entry_code alarm_code
        lock_code pin_code geheimzahl geheimnis zugangscode tuercode codigo_acceso codice_accesso
        code_acces digicode master_key encryption_key ciphertext upass pass_hash password_digest passcode
        door_passcode session_data auth_code authorization_code activation_key activation_code
        verification_code invite_code code_verifier code_challenge access_key_id client_secret
        signing_key shared_key psk wifi_password wlan_key sicherheitsfrage contrasenia heslo jelszo
        sifresi salasana parol
        motdepasse key_hash パスワード 暗証番号 秘密鍵 秘密の質問 トークン""",
    ),
    (
        Category.EMAIL,
        """email e_mail mail emails mailto correo courriel email_address mail_address correo_electronico メール
        メールアドレス 電子メール""",
    ),
    (Category.USER_AGENT, "user_agent useragent ua browser_string http_user_agent"),
    (Category.MAC, "mac mac_address macaddr macaddress hw_address bssid ssid"),
    (
        Category.IP,
        """ip ip_address ipaddress ip_addr remote_addr remote_address client_ip ipv4 ipv6 inet_addr remote_ip
        ip_adresse client_addr ip4 ip6 x_forwarded_for forwarded_for client_host peer_addr source_ip
        src_ip dest_ip host_ip adresse_ip direccion_ip indirizzo_ip ipaddr""",
    ),
    (
        Category.CARD,
        """card_number cardnumber card_no credit_card creditcard cc_number ccnum pan kreditkarte card_last4 last4
        card_last_four last_four kreditkartennummer numero_tarjeta tarjeta carte_bancaire card_num
        kartennummer kartennr ultimos4 ultimos_4 ultimos_cuatro payment_card_number numero_carte
        numero_cartao numero_carta carta_credito cartao_credito kaartnummer numer_karty kortnummer
        card_bin card_pan cc_num track1 track2 karten_nr kreditkarte_nr
        カード番号 クレジットカード番号""",
    ),
    (Category.IBAN, "iban iban_no iban_nr iban00 bankverbindung cpty_iban"),
    (
        Category.PLATE,
        """license_plate licence_plate number_plate plate kennzeichen matricula immatriculation targa kenteken plaka
        placa placas nummernschild plaque registration_plate registration_mark vrm reg_plate
        rejestracyjny reg_no reg_nr reg_num vehicle_reg vehicle_registration registration_no
        registration_number veh_reg kennz kfz_kennzeichen kfz amtl_kennzeichen plate_no plate_number
        plate_nbr rendszam registreringsnummer regnr spz kenteken_nr plaka_no tablice""",
    ),
    (
        Category.ACCOUNT,
        """account_number account_no bank_account routing_number sort_code konto kontonummer kontonr numero_cuenta
        numero_conta compte_bancaire blz bank_code aba acct_no acct_number stripe_customer_id bankkonto
        kontoverbindung rekeningnummer numero_konta conta_corrente conta_bancaria cuenta_bancaria
        cuenta_corriente conto_corrente koza_bango koza account_num rib hesap_no bankn customer_account
        cislo_uctu konto_bankowe accountnr kto kto_nr ktonr nr_rachunku rachunek szamlaszam cont_bancar
        numero_de_compte no_compte num_compte cuenta cta cta_bancaria ccc conta
        口座番号 銀行口座""",
    ),
    (
        Category.PERSONAL_NUMBER,
        """ssn social_security national_id nationalid nationalidnumber national_insurance nino ni_number passport
        passport_number passport_no passport_nr id_card identity_number id_number document_number tax_id
        taxid tax_no tax_number vat_id vat_number vat_no tin ein cpf cnpj rg nif dni nie nir curp rfc
        siret steuernummer steuer_id steuerid ustid personalausweis ausweisnummer license_number
        licence_number driver_license driving_license driving_licence insurance_number policy_no
        policy_number policy_nr insurance_no medical_record mrn patient_number loyalty_number
        membership_number member_number member_no badge_number staff_number employee_number
        personnel_number personalnummer matrikelnummer sozialversicherungsnummer svnr codice_fiscale
        pesel bsn vin imei imsi iccid device_serial mynumber my_number kundennummer customer_number
        steuernr ausweis ausweisnr ausweis_nr reisepass fuehrerschein fuhrerschein passeport pasaporte
        passaporte kundennr kdnr versicherungsnr mitgliedsnr mitgliedsnummer sv_nummer id_no customer_no
        client_no patient_no employee_no student_no staff_no personnel_no provider_uid provider_user_id
        oauth_id google_id facebook_id apple_id twitter_id github_id linkedin_id sso_id external_user_id
        versicherungsnummer policennummer numero_secu securite_sociale cedula aadhaar nhs nhs_number
        student_number license_no licence_no drivers_license fuehrerscheinnr fuehrerscheinnummer
        fuhrerscheinnummer fahrerlaubnis carnet_conducir permiso_conducir permis_conduire cnh rijbewijs
        prawo_jazdy patente licencia_conducir dowod dowodu identiteitskaart burgerservicenummer
        personnummer henkilotunnus cpr fodselsnummer kimlik kimlik_no carte_identite carta_identita
        numero_documento num_documento nuss seguridad_social pis pasep pis_pasep ctps titulo_eleitor
        matricola matricule kvnr krankenversicherungsnummer versichertennummer rentenversicherungsnummer
        known_traveler_number known_traveller_number frequent_flyer frequent_flyer_no redress_number
        gmc_no gmc_number npi npi_number bar_number library_card matricula_aluno zaehlernummer zaehlernr
        meter_number meter_no zaehlpunkt mpan vertragskonto carteirinha badge rfid fob_id rodne_cislo
        personnr tc_kimlik pernr persnr pers_nr personal_nr ma_nr mitarbeiter_nr mitarbeiternr kunnr
        kd_nr kdnummer lifnr parnr gpnr partner_nr worker_no payroll_no payroll_number clock_no badge_id
        badge_no upn ine nhs_no sin_number tfn nik ktp nrc cin rrn rut cuil cuit dpi cui cnp egn oib jmbg
        emso rodne taj taj_szam adoszam amka afm ahv ahv_nr avs sv_nr rv_nummer rvnr steuer_idnr idnr
        identifikationsnummer tckn tc_no tckimlikno nuip nit dui hkid emirates_id iqama national_no
        national_number no_secu num_secu secu nir_no insee ss_number ss_no sss_no num_ss nss
        numero_afiliacion afiliacion cod_fiscal cod_fisc codfisc codice_fisc fiscal_code personal_code
        isikukood asmens_kodas personas_kods hetu policy_id_no claim_no claim_number subscriber_id fir_no
        docket_no booking_ref pnr record_locator loyalty_no loyalty_card frequent_flyer_number ffn
        fahrgestellnummer fahrgestellnr fahrzeugident chassis chassis_no chassis_number numero_chassis
        bastidor telaio imei1 imei2 sim_number serial_iccid student_id_no matric_no matriculation
        matrikelnr roll_no roll_number voter_id voter_no elector_no prisoner_no inmate_no doc_no
        document_no id_document id_doc id_card_no id_nr ausweis_nummer pass_nr passnr numero_pasaporte
        pasaporte_no num_passeport hajo_szam gov_id government_id ghana_card pan_no dea_no document_nr
        dokumentnummer dokumentnr visa_number visa_no permit_number permit_no sozialversicherungsnr
        rentenversicherungsnr steueridnr krankenkassennr versichertennr
        マイナンバー 個人番号 社員番号 職員番号 会員番号 顧客番号 患者番号 学籍番号 免許証番号 旅券番号
        パスポート番号 保険証番号 基礎年金番号""",
    ),
    (
        Category.PHONE,
        """phone phones telephone tel mobile cell cellphone cell_phone phone_number mobile_number contact_number fax
        whatsapp msisdn telefon telefono handy telefone celular telefonnummer mobil portable rufnummer
        denwa telefoon cellulare telephone_number caller callee caller_id telefonnr telnr handynr faxnr
        電話 電話番号 携帯電話 calling_number called_number dialed_number dialled_number callback_number
        caller_number durchwahl extension_no movil tlf telefoonnummer numero_telefono numero_telephone
        mobilnummer mobilnr puhelin telefonnumer komorka pager bleep keitai keitai_bango denwa_bango
        landline contact_no contact_tel gsm telf nr_tel tel1 tel2 tel3 telf1 telf2 telephone1 phone1
        phone2 ph_no ph_number mob_no mobile_no cell_no fon fono phon tfno telef tlfno telno tel_no
        tel_number handy_nr mobiltel mobiltelefon telefax tel_fax fax_no tfax cep_tel gsm_no telefonszam
        mobilszam telefoni telefonas telefons puhelin_nro matkapuhelin no_hp no_telp telp viber
        wechat_phone a_number b_number anum bnum ani dnis cli_number called calling caller_no callee_no
        携帯 携帯番号 自宅電話 連絡先 ファックス ファクス""",
    ),
    (
        Category.FIRST_NAME,
        """first_name firstname fname f_name given_name given_names givenname forename forenames vorname vornamen
        rufname prenom prenoms nombre_pila primer_nombre middle_name middlename middle_initial nickname
        preferred_name first_nm voornaam imie primeiro_nome mei mei_kana fornavn fornamn etunimi
        prenom_usuel ufname firstnm forename_1 namae_mei first_initial jmeno krestni_jmeno voorletters
        fname1 name_first nom_prenom vname vnam vorn vorna pvname rufn namev vornam nom_pila prenume
        ime_osobe utonev keresztnev firstn given1 known_as mid_name mid_initial middle midname mname
        second_name segundo_nombre otchestvo patronymic imya christian_name taufname vards vardas eesnimi
        prename isim adi
        名 下の名前 メイ""",
    ),
    (
        Category.LAST_NAME,
        """last_name lastname lname l_name surname family_name familyname nachname familienname apellido apellidos
        sobrenome nom_de_famille maiden_name geburtsname last_nm cognome achternaam nazwisko
        primer_apellido segundo_apellido nom_famille sei sei_kana myoji nom_usage soyad soyadi etternavn
        efternamn sukunimi apelido ulname prijmeni sname surnm lname1 name_last nname nachn pname zuname
        ledigenname birth_name birthname nom_naissance nom_jeune_fille apellido1 apellido2 ap1 ap2 ape1
        ape2 apaterno amaterno apellido_paterno apellido_materno ap_paterno ap_materno sobren
        nome_familia prezime vezeteknev csaladnev familiya familija perekonnanimi uzvards pavarde
        mothers_maiden mother_maiden mothers_maiden_name maiden mthr_mdn
        姓 名字 苗字 旧姓 セイ""",
    ),
    (
        Category.USERNAME,
        """username user_name login login_name login_id handle screen_name screenname nick benutzername usuario
        kuerzel kurzel twitter facebook instagram linkedin github skype telegram utilisateur utente
        usr_name uname created_by updated_by modified_by changed_by entered_by deleted_by assigned_to
        assignee device_name computer_name initials iniciales initiales initialen timekeeper snapchat
        tiktok mastodon discord skype_name principal principal_name actor_username actor_name operator_id
        crt_user created_user create_user update_user upd_user crt_by upd_by ernam aenam last_user
        entered_user login_user loginname os_user db_user samaccountname insta insta_handle ig_handle
        x_handle tg_handle nick_name gamertag
        ユーザー名 ユーザ名 ログイン ログイン_id""",
    ),
    (
        Category.FULL_NAME,
        """full_name fullname full_nm display_name displayname real_name person_name guest_name customer_name
        client_name contact_name patient_name employee_name owner_name holder_name cardholder
        cardholder_name account_holder card_holder holder author_name sender_name recipient_name
        recipient user_full_name billing_name shipping_name bill_to_name ship_to_name ship_name
        emergency_contact manager_name doctor_name member_name participant_name nom_complet
        nombre_completo nome_completo next_of_kin kin signed_by consignee consignor booker_name
        driver_name physician attending_physician counterparty payee payer beneficiary reviewed_by
        approved_by edited_by_name created_by_name kontoinhaber inhaber ansprechpartner ansprechpartnerin
        titular 氏名 名前 shimei namae contact_person reviewer_name student_name teacher_name
        author_full_name versicherungsnehmer nome_titular destinataire titulaire beneficiario byline
        traveler_name traveller_name passenger_name bill_to ship_to sold_to attn auftraggeber empfaenger
        absender nadawca odbiorca ontvanger afzender expediteur remitente destinatario mittente remetente
        passenger pax pax_name lead_passenger guarantor witness bevollmaechtigter fahrzeughalter
        spouse_name koza_meigi meiginin tantosha nome_mae nome_pai mother_name father_name nok nok_name
        insured_name name_of_holder cpty_name counterparty_name account_title beneficiary_name
        borrower_name tenant_name attention kontaktperson contactpersoon persona_contacto
        personne_contact pessoa_contato nome_contato nombre_contacto nom_contact emboss_name
        embossed_name printed_name name_on_card badge_name lead_guest main_guest plus_one companion
        mitreisende accompanying beifahrer responsible_person point_of_contact poc signatory signer
        signed_name undersigned unterzeichner unterschrieben_von mothers_name fathers_name nombre_madre
        nombre_padre nom_pere nom_mere nome_da_mae anyja_neve imie_ojca imie_matki invnam investigator
        フリガナ ふりがな 氏名カナ カナ氏名 お名前 会員名 顧客名 患者名 利用者名 担当者名 宛名 名義
        口座名義 契約者名 受取人 保護者名 filiacao""",
    ),
    (
        Category.GENDER,
        """gender sex geschlecht sexo genre_personne seibetsu 性別 genero anrede salutation geslacht sexe plec sesso
        cinsiyet kjonn sukupuoli civilite tratamiento geschl civility kon pohlavi sx gesch gend gndr
        sex_cd pol_osoby spol cins""",
    ),
    (
        Category.BIRTH,
        """birth birthday birthdate birth_date date_of_birth dob born geburtsdatum geburtstag gebdatum geburt
        fecha_nacimiento date_naissance data_nascimento data_nascita data_di_nascita nascimento
        nacimiento naissance geboortedatum geburtsjahr geb_jahr gebjahr yob jahrgang gebdat geb_dat
        geb_am yearofbirth dateofbirth 生年月日 ano_nascimento annee_naissance death deathdate date_of_death
        died deceased deceased_at seinengappi geboorte geboortejaar urodzenia dogum dogum_tarihi
        fodelsedatum fodselsdato date_naiss fecha_nac data_nasc gbdat umur tanjobi syntymaaika narozeni
        datum_narozeni brth bday bdate bdat brthdt brthdtc dobirth d_o_b dateborn born_on born_at nacido
        nacida f_nac fnac fec_nac fecnac fch_nac fecha_nacim nac dt_nasc dtnasc dat_nasc nasc ddn
        date_nais dnaiss ne_le nee_le nato_il gebd gebtag gebd_dat geboren geboren_am gebjahrgang
        geburtsdat szul szul_dat szuletesi szuletesi_datum szuletett data_ur data_urodz ur_dnia dat_nar
        datum_nar narozen rodjen datum_rodjenja rojstva dogum_tar dtarihi fodt fodd fodelsear
        dat_naissance annee_nais deceased_on date_deces deces fallecimiento fecha_defuncion obito
        data_obito sterbedatum verstorben todestag overleden data_nasterii nasterii nastere
        誕生日 生まれ 没年月日""",
    ),
    (
        Category.POSTCODE,
        """postcode post_code postal_code postalcode postal zip zipcode zip_code plz postleitzahl cep codigo_postal
        code_postal cap_code kod_pocztowy 郵便番号 yubin_bango yubinbango cod_postal postnummer postinumero
        codigopostal cod_post psc postnr pst_code postcd pcode p_code zip4 zip5 zip3 zipcd pstlz plz_nr
        cod_pos codpos cpostal iranyitoszam irsz kod_poczt kodpocztowy posta_kodu pincode eircode cap
        postno""",
    ),
    (
        Category.CITY,
        """city town locality suburb ciudad ville stadt ort wohnort cidade birthplace birth_place bairro poblacion
        localidad commune municipio citta woonplaats geburtsort place_of_birth miasto miejscowosc plaats
        shikuchoson municipality gemeente kommune localite lieu_naissance luogo_nascita sehir poststed
        mesto ort01 ort02 city_name cityname town_name wohn_ort plz_ort plzort gebort geb_ort
        geburtsland_ort lieu_naiss lieu_nais lugar_nacimiento naturalidade local_nascimento cidade_nome
        municipality_name muni nome_cidade pobl poblac localid telepules varos localitate oras naselje
        kaupunki postitoimipaikka village aldea pueblo vila hamlet kelurahan
        市区町村 市町村 出生地""",
    ),
    (
        Category.STREET,
        """street street_address address_line addressline line1 line2 line3 address1 address2 address3 addr1
        addr2 street1 street2 strasse str calle rue rua ship_address adresse_rue straat ulica apartment
        logradouro straatnaam cadde sokak gatuadress gateadresse gade strasse_hausnr ulice addr_ln1 addr_ln2
        addr_line_1 address_1 address_2 adr1 adr2 ln1 ln2 stras stra strase strassenname street_nm vialidad
        nom_via tipo_via voie libelle_voie logr utca strada katuosoite kadunnimi gata indir street3 direc
        domic apto apartamento piso 町名 丁目 建物名 マンション名""",
    ),
    (
        Category.HOUSE_NUMBER,
        """house_number housenumber hausnummer huisnummer hnr hausnr haus_nr hs_nr house_no house_nbr street_no
        street_num calle_num str_nr str_hnr nr_domu nr_mieszkania num_via numero_via num_voie numero_voie
        rue_num logradouro_num hazszam ulica_nr nr_dom gatunr straat_nr sokak_no apt_no departamento_num
        banchi 番地""",
    ),
    (
        Category.ADDRESS,
        """address addr home_address adresse anschrift direccion domicilio endereco shipping_address billing_address
        indirizzo jusho location_address postal_address adres residence 住所 addr_block address_block
        mail_addr mailing_address mailing_addr correspondence_address corr_addr res_addr residential
        home_addr perm_addr permanent_address present_address domicil domicilio_fiscal direcc
        direccion_completa adr_complete lakcim cim adresa adres_pelny ikametgah osoite bopael
        pickup_address pickup_addr dropoff_address drop_address dropoff_addr destination_address
        delivery_address lieferadresse rechnungsadresse endereco_completo indirizzo_completo
        house_address place_of_residence full_addr addr_full loss_location alamat
        現住所 自宅住所 所在地 本籍 本籍地""",
    ),
    (
        Category.SENSITIVE,
        """surgery eingriff surgical_procedure zabieg eye_color eye_colour hair_color hair_colour augenfarbe haarfarbe
        religion religious confession konfession faith ethnicity ethnic ethnie race diagnosis diagnoses diagnose
        diagnostico disability disabilities disabled behinderung blood blood_type blutgruppe medication
        medications allergy allergies allergien alergias health medical sexual sexual_orientation
        orientation political criminal marital marital_status marriage family_status familienstand
        civil_status estado_civil etat_civil smoker icd icd10 icd_code symptom symptoms anamnesis
        foerderbedarf special_needs union_member gesundheitsfragen gesundheit mediche pregnancy pregnant
        hiv hiv_status anamnese befund krankheit krankheiten erkrankung allergie raucher schwanger
        schwangerschaft partei political_party gewerkschaft trade_union union_membership medikament
        medikamente wheelchair rollstuhl konfessionell rasse ethnische_herkunft maladie enfermedad
        burgerlijke_staat stan_cywilny stato_civile situation_matrimoniale situation_familiale zivilstand
        medeni_hal civilstand religiao religione godsdienst wyznanie religia church denomination glaube
        shukyo raca raza raca_cor tribe caste indigenous etnia ancestry allergen allergens allergene
        vaccine vaccination impfung impfstatus impfstoff vacuna vacina vaccin diagnostic shindan
        shindanmei byomei byoreki enfermedades doenca malattia ziekte choroba handicap disabilita
        discapacidad deficiencia niepelnosprawnosc snomed snomed_ct icd9 icd_10 cid cie10 prognosis
        dietary diet dieta regime_alimentaire regime_special food_intolerance special_meal alcohol
        tobacco fumeur fumador fumante kitsuen smoking tipo_sanguineo grupo_sanguineo gruppo_sanguigno
        groupe_sanguin bloedgroep grupa_krwi ketsuekigata suicide self_harm addiction psychiatric
        mental_health phq9 gad7 sexuality dating_preference interested_in party_vote voted_for
        party_affiliation political_views sindicato sindical sindicalizado filiado syndicat sindacato
        vakbond asylum refugee immigration_status visa_status criminal_record background_check crb_check
        dbs_check police_check conviction convictions vorstrafen casier_judiciaire antecedentes pep
        invalidita tani teshis hastalik diagnoza voter_party krankenkasse health_insurer bijstand welfare
        mar_stat marital_st marital_cd fam_stand fmstat civil_st edo_civil est_civil etatcivil
        statocivile rlgn relig religionszugehoerigkeit konfe ethnic_group eth_grp ethn ethnic_origin dx
        dx_code diagn diagnosis_code chief_complaint presenting_complaint ailment disease disorder
        illness comorbidity aeterm adverse_event injury inj_cd lesion lesiones verletzung blessure
        bld_grp bld_typ blood_grp blood_group blut bluttyp sangre sang sangue krew krevni bloodtype
        blood_type_cd smk_ind smoker_ind rauch trinker drinker drug_use substance_use substance_abuse
        med_notes medical_notes gesundheitszustand estado_salud etat_sante saude stato_salute zdravi
        handicapped sen_status special_education free_school_meals pregn gravida hiv_ind vih sida
        std_status mental psych psychosocial cause_of_death todesursache sexual_pref lgbt gender_identity
        orientacion_sexual seeking looking_for pref_gender partei_zugehoerigkeit opcion_politica
        sympathie union_name union_dues unionized voted has_voted voted_flag abgestimmt crime offence
        offense felony straftat delito probation parole auskunftssperre lives_with sorgerecht
        steuerklasse steuerkl stkl kirchensteuer kist asylum_status aufenthaltstitel aufenthaltsstatus
        residence_permit titre_sejour minority victim_type abuse sozialhilfe hartz benefit_type
        food_stamps disability_pct gdb grad_der_behinderung grado_discapacidad poverty low_income
        indigent risk_behaviour famst fam_st mar_st smkr
        血液型 病名 診断 診断名 既往歴 宗教 障害 障がい アレルギー 婚姻""",
    ),
    (
        Category.PICTURE,
        """avatar avatar_url avatar_path photo photo_url photo_path picture picture_url profile_image selfie
        portrait scan image image_url foto bild thumbnail thumbnail_photo large_photo cv_file resume cv
        lebenslauf fingerprint_image""",
    ),
    (Category.URL, "url website homepage web_site webseite site_web linkedin_url link target_url profile_url"),
    (
        Category.INCOME,
        """oklad dizimo tithe zarplata palkka maas manadslon arslon arsinkomst arrears owed amount_owed fines_owed
        outstanding_balance rueckstand impaye misthos
        salary wage wages income net_worth credit_score gehalt lohn salario salaire bonus pay pay_rate
        hourly_rate compensation overdraft balance saldo kontostand solde iq debt commission
        commission_pct sueldo sueldo_bruto sueldo_neto einkommen nettoeinkommen bruttoeinkommen
        nettogehalt bruttogehalt jahresgehalt monatsgehalt verguetung renda revenu revenus revenu_fiscal
        quotient_familial ingresos reddito stipendio salaris inkomen wynagrodzenie pensja dochod gelir
        inkomst remuneration remuneracao vencimento vencimentos salary_expectation pretensao_salarial
        gehaltswunsch wealth wealth_rating dispo dispokredit bonitaet schufa schufa_score fico fico_score
        credit_rating kyuyo nenshu gekkyu comm balance_amount bal_amount income_band credit_limit
        kreditlimit schuld schulden debts deuda divida debito base_pay basepay gross_pay net_pay
        gross_salary net_salary take_home annual_salary ann_sal annual_inc ann_inc monthly_inc
        monthly_income yearly_income annual_income household_income salary_amount sal_base brutto_lohn
        bruttolohn nettolohn stundenlohn lohnsatz grundgehalt ytd_gross ytd_net salario_base
        salario_bruto salario_neto salario_liquido sueldo_base paga remun haberes devengado
        traitement_brut brut_mensuel loon brutoloon uurloon mzda fizetes maas_net lon_brutto acct_balance
        account_balance current_balance available_balance clr_bal_amount ledger_balance lifetime_amount
        lifetime_value donated_total net_wealth cr_lmt credit_lmt
        給与 給料 年収 月給 賞与 報酬""",
    ),
    (Category.LATITUDE, "latitude lat breitengrad latitud"),
    (Category.LONGITUDE, "longitude lng lon long laengengrad longitud"),
    (Category.POSITION, "geo gps geolocation coordinates coords latlng lat_lng location_point home_location"),
    (
        Category.MEASURE,
        """height weight age bmi alter peso altura edad poids taille groesse gewicht waist body_weight body_height
        pulse resting_pulse puls heart_rate herzfrequenz blood_pressure blutdruck systolic diastolic
        glucose cholesterol shincho taiju estatura altezza wzrost waga koerpergroesse koerpergewicht
        body_fat idade leeftijd wiek nenrei nb_enfants nombre_enfants numero_hijos anzahl_kinder
        kinderzahl num_children number_of_children blood_sugar spo2 respiratory_rate kinderanzahl
        kinder_anzahl body_mass height_cm weight_kg ht_cm wt_kg ht_in wt_lb bp_sys bp_dia temp_c_body
        pulse_rate head_circumference shoe_size anzkd kinder children_count dependents dependants
        no_of_dependents num_dependents dependientes dependentes cargas_familiares filhos hijos age_yrs""",
    ),
    (
        Category.COMPANY,
        """company_name company companyname organisation organization org employer firma firmenname empresa
        razao_social societe azienda bedrijf arbeitgeber razon_social raz_soc ragione_sociale ragsoc
        raison_sociale
        会社名 勤務先""",
    ),
    (Category.QUERY, "client_query sql_statement statement sql_text query_text sql_query query"),
    (
        Category.FREE_TEXT,
        """note notes comment comments body message messages text txt bio biography about remark remarks feedback
        review reviews transcript subject reason request requests special_requests wish wishes
        instructions memo answer question reply notiz notizen bemerkung bemerkungen kommentar comentario
        comentarios nota notas observacoes observaciones commentaire commentaires remarque snippet
        purpose cv_text interpretation complaint narrative special_wishes signature_html greeting letter
        mensagem mensaje nachricht next_step error_message last_error freitext wunsch wuensche
        sonderwunsch betreff 備考 メモ rmk rmks rmrk rem remk comment_txt notes_txt free_txt freetext
        remark_txt bem bemerk bemerkg anmerkung anmerkungen obs observ observacion observacao observation
        hinweis hinweise vermerk begruendung grund motivo motif gist statement_txt findings befundtext
        incident_description tathergang testimony aussage gift_msg giftmessage greeting_text engraving
        inscription mensagens notitie opmerking opmerkingen uwagi notatka anteckning anmarkning notat
        poznamka megjegyzes mentiuni aciklama tran_particular particulars verwendungszweck zahlungsgrund
        remittance remittance_info causale omschrijving_betaling delivery_notes delivery_instructions
        sms_text msg_text msgtext email_body mail_body chat_text utterance prompt search_term
        search_query old_val new_val old_value new_value
        remarques コメント 特記事項 問い合わせ内容 お問い合わせ内容 本文 自由記述""",
    ),
    (
        Category.DESCRIPTION,
        """description descripcion beschreibung descricao descrizione summary caption headline tagline criteria
        excerpt meta_description meta_title synopsis short_description long_description content html
        abstract blurb details""",
    ),
    (
        Category.REGION,
        """region district state province county bundesland provincia estado departement provincie kanton
        都道府県""",
    ),
    (Category.NAME, "name label nombre nom nome naam nm namen bezeichnung designation names"),
    (
        Category.PLAIN,
        """status type kind category code slug currency locale language lang timezone time_zone tz country version
        level priority channel color colour unit format extension mime action event operation schema
        table mode method stage phase plan tier size role sku checksum digest etag sha git_sha hash_of
        material dimensions path permalink isbn ean upc barcode codigo_barras bar_code lot lot_number
        batch model firmware rate_plan product_code brand tags tag scopes scope events bic swift
        swift_code carrier tracking_number tracking awb icon position_code cost_center cost_centre rating
        job_title jobtitle title_of_courtesy honorific mime_type cron situacao klasse fach
        unit_of_measure number order_no order_number part_no part_number serial serial_no drug strength
        genre rating media_type fulltext suffix estado_pedido department desk desk_location voucher
        coupon confirmation_code atc_code test_code hs_code inn_name specimen_barcode section shelf bin
        warehouse request_id correlation_id trace_id span_id target_id object_id entity_id resource_id
        event_id e2e_ref mcc ward location_code room room_number table_name file_name quantity
        quantity_per_unit title salutation_code""",
    ),
)
# Tables of tools, which say nothing of people.
OF_TOOLS: Final = frozenset(
    """ar_internal_metadata schema_migrations flyway_schema_history schema_version databasechangelog
    databasechangeloglock alembic_version django_migrations django_content_type knex_migrations knex_migrations_lock
    _prisma_migrations goose_db_version typeorm_metadata __efmigrationshistory doctrine_migration_versions
    phinxlog spatial_ref_sys geometry_columns geography_columns""".split()
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
    "pat": "patient",
    "cli": "client",
    "empl": "employee",
    "trab": "trabajador",
    "prsn": "person",
    "pers": "person",
    "drv": "driver",
    "mgr": "manager",
    "supv": "supervisor",
    "spvr": "supervisor",
    "bene": "beneficiary",
    "hldr": "holder",
    "clmt": "claimant",
    "memb": "member",
    "mbr": "member",
    "usuar": "usuario",
    "fam": "family",
    "giv": "given",
    "fst": "first",
    "mid": "middle",
    "init": "initial",
    "inits": "initials",
    "brth": "birth",
    "bth": "birth",
    "sx": "sex",
    "bld": "blood",
    "disab": "disability",
    "hgt": "height",
    "wgt": "weight",
    "clr": "color",
    "dt": "date",
    "dte": "date",
    "cd": "code",
    "cde": "code",
    "dsc": "description",
    "ctry": "country",
    "cntry": "country",
    "pst": "post",
    "lic": "license",
    "pol": "policy",
    "clm": "claim",
    "bal": "balance",
    "phn": "phone",
    "mbl": "mobile",
    "sgnd": "signed",
    "mstr": "master",
    "intl": "international",
    "inst": "institution",
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
# What people are called by what they do or are to others; a text called so holds somebody's name, login or initials.
ROLES: Final = frozenset(
    """driver manager supervisor superior teacher instructor tutor doctor physician practitioner surgeon dentist nurse
    midwife therapist psychologist pharmacist prescriber caregiver carer owner coowner landlord landlady tenant
    lessee lodger roommate witness employee worker reviewer interviewer inspector examiner auditor agent broker
    adjuster earner clerk operator technician engineer mechanic caller requester requestor assignee assigner approver
    submitter reporter sender receiver addressee seller salesperson salesman salesrep buyer purchaser borrower
    lender claimant insured policyholder beneficiary guardian mother father parent spouse partner husband wife
    sibling brother sister daughter child relative heir judge lawyer attorney counsel solicitor barrister notary
    priest pastor minister chairman chairperson author coauthor editor translator coach trainer captain referee
    umpire player speaker lecturer professor organizer organiser guest visitor resident occupant citizen elector
    voter candidate applicant donor volunteer member participant attendee delegate patient customer client
    subscriber nominee deputy person accused defendant plaintiff complainant appellant offender suspect victim
    informant debtor creditor payer payee cashier teller consultant advisor adviser ceo cfo cto coo president
    secretary treasurer director responsible respondent user username planner dispatcher courier rider passenger
    crew steward photographer designer creator modifier contributor maintainer moderator commenter poster actor
    principal contact colleague student pupil learner trainee apprentice alumnus graduate veteran inmate
    prisoner detainee fahrer leiter leiterin chef vorgesetzter lehrer lehrerin klassenlehrer arzt aerztin
    hausarzt zahnarzt pfleger pflegekraft hebamme eigentuemer besitzer vermieter mieter untermieter zeuge
    mitarbeiter kollege bearbeiter sachbearbeiter betreuer berater verkaeufer kaeufer antragsteller versicherter
    versicherungsnehmer begleiter vormund mutter vater eltern ehepartner ehegatte ehemann ehefrau partnerin
    richter anwalt notar pfarrer vorsitzender vorstand autor verfasser sprecher gast bewohner einwohner buerger
    waehler kandidat bewerber spender ehrenamtlicher mitglied teilnehmer kunde abonnent vertreter vertretung
    stellvertreter beklagter klaeger schuldner glaeubiger zahler kassierer techniker monteur hausmeister
    schueler azubi praktikant halter nutzer benutzer anwender melder paten taeufling erbe abnehmer kontakt
    angehoerige conductor chofer gerente jefe responsable profesor profesora maestro medico enfermero
    propietario inquilino arrendatario testigo empleado trabajador trabajadora vendedor comprador solicitante
    asegurado tomador madre padre conyuge esposo esposa hijo hija hermano juez abogado notario cura presidente
    presidenta secretario secretaria entrenador huesped residente ciudadano votante candidato aspirante donante
    voluntario miembro socio socia participante paciente cliente agente abonado suplente persona demandante demandado
    deudor acreedor pagador cajero tecnico alumno alumna contacto interesado denunciante chauffeur conducteur
    gerant directeur directrice superieur professeur enseignant medecin infirmier infirmiere proprietaire
    locataire colocataire bailleur temoin employe salarie vendeur acheteur acheteuse demandeur defendeur assure
    souscripteur garant tuteur mere pere conjoint conjointe epoux epouse enfant juge avocat avocate notaire
    auteur redacteur entraineur invite habitant citoyen electeur candidat donateur benevole membre adherent
    abonne remplacant suppleant personne debiteur creancier payeur caissier technicien eleve etudiant
    interlocuteur motorista diretor diretora chefe responsavel professora medica enfermeira proprietaria
    locatario inquilina testemunha funcionario funcionaria vendedora requerente segurado mae pai conjuge marido
    filho filha irmao juiz advogado advogada tabeliao padrinho madrinha autora treinador hospede morador cidadao
    eleitor candidata doador membro pessoa devedor credor aluna contato dependente autista direttore insegnante
    infermiere proprietario testimone dipendente venditore acquirente richiedente assicurato coniuge marito
    moglie figlio figlia fratello giudice avvocato notaio parroco autore allenatore ospite cittadino elettore
    donatore volontario partecipante paziente debitore creditore alunno studente referente bestuurder leraar
    docent arts huisarts verpleegkundige eigenaar huurder verhuurder getuige medewerker werknemer verkoper koper
    aanvrager verzekerde voogd moeder vader echtgenoot rechter advocaat bewoner burger kiezer kandidaat
    vrijwilliger deelnemer klant abonnee vervanger persoon schuldenaar schuldeiser betaler leerling kierowca
    kierownik nauczyciel lekarz pielegniarka wlasciciel najemca swiadek pracownik sprzedawca kupujacy
    wnioskodawca ubezpieczony opiekun matka ojciec malzonek dziecko sedzia adwokat trener gosc mieszkaniec
    obywatel wyborca kandydat darczynca wolontariusz czlonek uczestnik pacjent klient abonent osoba dluznik
    wierzyciel platnik uczen forare larare lakare sjukskoterska agare hyresgast vittne anstalld saljare kopare
    sokande foralder domare advokat forfattare medlem deltagare kund prenumerant elev sofor mudur ogretmen
    doktor hemsire sahibi kiraci tanik calisan satici basvuran anne baba cocuk hakim avukat yazar misafir
    vatandas secmen aday uye katilimci musteri abone kisi ogrenci ridic ucitel lekar majitel najemce svedek
    zamestnanec prodejce kupujici zadatel pojistenec otec manzel manzelka dite soudce obcan volic darce
    dobrovolnik clen ucastnik pacient zakaznik odberatel tulajdonos berlo tanu dolgozo elado vevo orvos tanar
    ugyfel tanulo anyja apja sofer proprietar chirias martor angajat vanzator cumparator mama tata sot sotie
    copil abonat""".split()
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
